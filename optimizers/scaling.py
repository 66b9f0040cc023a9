"""One budget for every entry: settings are chosen when the data are known, from what a rollout of the student takes."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dspy
from dspy.teleprompt import Teleprompter

from tfgrpo_dspy import SettingsError, evaluate
from tfgrpo_dspy.kit import copy_program
from tfgrpo_dspy.rewards import Metric

Examples = list[dspy.Example]
Make = Callable[[Metric, int, int | None], Teleprompter]
"""From metric, seed and the LM calls that compile may take (None: its own defaults)."""


_PILOT = 2 * 10**9
"""Added to the seed of the pilot, so that no rollout of it shares an id with another."""


class Fitted(NamedTuple):
    """An optimizer with its settings, and what its `compile` is called with."""

    optimizer: Teleprompter
    arguments: dict[str, Any]
    """`trainset` and whatever else; a `valset` is left out where `compile` takes none."""


@dataclass(frozen=True, slots=True)
class Task:
    """What an optimizer is to be fitted to."""

    metric: Metric
    seed: int
    trainset: Examples
    valset: Examples | None
    calls: int | None = None
    """LM calls that compile may take; None for the optimizer's own defaults."""
    per_rollout: float = 1.0
    """LM calls that one rollout of the student takes; measured when there is a budget."""

    def sample(self, examples: Sequence[dspy.Example], size: int) -> Examples:
        """As many of the examples, drawn by the seed; all of them, in their order, if there are no more."""
        if size >= len(examples):
            return list(examples)
        return random.Random(f"{self.seed}/sample").sample(list(examples), max(1, size))

    def shuffled(self) -> Examples:
        """The trainset in an order of the seed's."""
        return random.Random(f"{self.seed}/order").sample(self.trainset, len(self.trainset))

    def split(self, size: int) -> tuple[Examples, Examples]:
        """Examples to learn from, and as many to select on: of the valset, else held out of the trainset."""
        if self.valset:
            return self.trainset, self.sample(self.valset, size)
        size = min(size, len(self.trainset) // 2)
        shuffled = self.shuffled()
        return (shuffled[size:], shuffled[:size]) if size else (shuffled, shuffled)

    def affordable(self, calls: float) -> int:
        """Rollouts of the student that these LM calls pay for."""
        return int(calls / self.per_rollout)


Plan = Callable[[Task], Fitted]
"""Settings for a task; at `calls=None` the optimizer's own."""


@dataclass(eq=False)
class AtBudget(Teleprompter):
    """An optimizer whose settings are fitted to data and budget when `compile` is called.

    With a budget, one rollout of the student is made first, to see how many LM calls it takes.
    """

    plan: Plan
    metric: Metric
    seed: int = 0
    calls: int | None = None
    """LM calls that compile may take; None for the optimizer's own defaults."""
    fitted: Teleprompter | None = field(default=None, init=False)
    """The optimizer as it was fitted at the last `compile`."""

    def __post_init__(self) -> None:
        super().__init__()
        if self.calls is not None and self.calls < 1:
            raise SettingsError(f"calls must be a whole number >= 1 or None, got {self.calls!r}")

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student, improved; it is not changed itself.

        Raises:
            SettingsError: A teacher was given; the entries of the line-up learn from the student alone.
        """
        if teacher is not None:
            raise SettingsError(
                "teacher must be None: every entry of the line-up learns from the student's own rollouts"
            )
        task = Task(self.metric, self.seed, list(trainset), list(valset) if valset else None, self.calls)
        self.fitted, arguments = self.plan(self._measured(student, task))
        taken = inspect.signature(self.fitted.compile).parameters
        return self.fitted.compile(own_copy(student), **{k: v for k, v in arguments.items() if k in taken})

    def _measured(self, student: dspy.Module, task: Task) -> Task:
        if task.calls is None:
            return task
        pilot = evaluate(student, task.trainset[:1], _unscored, k=1, seed=_PILOT + task.seed, display_progress=False)
        used = max(1, pilot.usage.lm_calls)
        left = max(1, task.calls - pilot.usage.lm_calls)
        return Task(task.metric, task.seed, task.trainset, task.valset, left, float(used))


def _unscored(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
    return 0.0


def own_copy(program: dspy.Module) -> dspy.Module:
    """A copy whose signatures are classes of its own: a deep copy shares them, and some optimizers write into them."""
    copied = copy_program(program)
    copied._compiled = False  # DSPy's bootstrapping refuses a student that another optimizer has compiled
    for predictor in copied.predictors():
        predictor.signature = predictor.signature.with_instructions(predictor.signature.instructions)
    return copied
