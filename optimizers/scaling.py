"""One budget for every entry: settings are chosen when the data are known, from what a rollout of the student takes."""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import dspy
from dspy.teleprompt import Teleprompter
from dspy.utils.callback import BaseCallback

from tfgrpo_dspy import BudgetError, SettingsError, evaluate
from tfgrpo_dspy.kit import OutOfBudget, capped, copy_program
from tfgrpo_dspy.rewards import Metric

logger = logging.getLogger(__name__)

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

    def check_covers(self, least: float, what: str) -> None:
        """Raises `SettingsError` if the budget is below the LM calls that the least thing worth paying for takes."""
        if self.calls is not None and self.calls < least:
            raise SettingsError(
                f"the {self.calls} LM calls that a pilot left of the budget do not cover {what}, which takes about "
                f"{least:.0f}; raise the budget"
            )


Plan = Callable[[Task], Fitted]
"""Settings for a task; at `calls=None` the optimizer's own."""


@dataclass(eq=False)
class AtBudget(Teleprompter):
    """An optimizer whose settings are fitted to data and budget when `compile` is called.

    With a budget, one rollout of the student is made first, to see how many LM calls it takes. An optimizer that would
    exceed it all the same is stopped, and the best of the programs that it has scored by then is what it gives.
    """

    plan: Plan
    metric: Metric
    seed: int = 0
    calls: int | None = None
    """LM calls that compile may take, at the endpoint; None for the optimizer's own defaults."""
    measures: bool = True
    """Whether its plan goes by what a rollout takes."""
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
            SettingsError: A teacher was given, as entries of the line-up learn from the student alone; or the budget
                covers nothing that could be learned.
            BudgetError: The budget was spent before one program was scored.
        """
        if teacher is not None:
            raise SettingsError(
                "teacher must be None: every entry of the line-up learns from the student's own rollouts"
            )
        task = Task(self.metric, self.seed, list(trainset), list(valset) if valset else None, self.calls)
        if self.calls is None:
            return self._compiled(student, task)
        scored = _Scored()
        callbacks = [*dspy.settings.callbacks, scored]
        try:
            with capped(self.calls, dspy.settings.num_threads or 1), dspy.context(callbacks=callbacks):
                return self._compiled(student, self._measured(student, task) if self.measures else task)
        except OutOfBudget as spent:
            name = type(self.fitted or self).__name__
            if scored.best is None:
                raise BudgetError(
                    f"{self.calls} LM calls were spent before {name} had scored a single program; raise the budget"
                ) from spent
            logger.warning("%s was stopped at %d LM calls, and gives the best it had scored", name, self.calls)
            return scored.best

    def _compiled(self, student: dspy.Module, task: Task) -> dspy.Module:
        self.fitted, arguments = self.plan(task)
        return self.fitted.compile(own_copy(student), **accepted(self.fitted, arguments))

    def _measured(self, student: dspy.Module, task: Task) -> Task:
        pilot = evaluate(student, task.trainset[:1], _unscored, k=1, seed=_PILOT + task.seed, display_progress=False)
        used = pilot.usage.lm_calls
        return replace(task, calls=(task.calls or 0) - used, per_rollout=float(max(1, used)))


def capped_at(make: Make, metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """What a factory makes that has no plan: it is told of its calls, and held to them."""
    if calls is None:
        return make(metric, seed, calls)

    def plan(task: Task) -> Fitted:
        return Fitted(make(metric, seed, calls), {"trainset": task.trainset, "valset": task.valset})

    return AtBudget(plan, metric, seed, calls, measures=False)


def accepted(optimizer: Teleprompter, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that its `compile` takes: not every one knows a `valset`."""
    taken = inspect.signature(optimizer.compile).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    return {name: value for name, value in given.items() if takes_any or name in taken}


class _Scored(BaseCallback):
    """The best program that `dspy.Evaluate` has scored to the end in its context, on the most examples of all."""

    def __init__(self) -> None:
        self.best: dspy.Module | None = None
        self._rank = (0, 0.0)
        self._open: dict[str, dspy.Module] = {}

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._open[call_id] = inputs["program"]

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        program = self._open.pop(call_id)
        if exception is not None or "forward" in vars(program):  # which stands there while GEPA takes a trace
            return
        if (rank := (len(outputs.results), float(outputs.score))) > self._rank:
            self._rank, self.best = rank, copy_program(program)  # an optimizer may go on with this very object


def _unscored(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
    return 0.0


def own_copy(program: dspy.Module) -> dspy.Module:
    """A copy whose signatures are classes of its own: a deep copy shares them, and some optimizers write into them."""
    copied = copy_program(program)
    copied._compiled = False  # DSPy's bootstrapping refuses a student that another optimizer has compiled
    for predictor in copied.predictors():
        predictor.signature = predictor.signature.with_instructions(predictor.signature.instructions)
    return copied
