"""Training-Free GRPO as the paper sets it, and the same minus one thing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.scaling import AtBudget, Examples, Fitted, Task
from optimizers.signatures import WriteExperiences
from tfgrpo_dspy import (
    Add,
    Budget,
    Decision,
    Delete,
    ExperienceLibrary,
    Limits,
    MajorityVote,
    Modify,
    Proposed,
    TrainingFreeGRPO,
    attach,
)
from tfgrpo_dspy.kit import copy_program, render_values
from tfgrpo_dspy.rewards import Metric

REFLECTED = 1 / 2
"""Share of the groups expected to be summarised and compared, for choosing how many examples a budget covers."""
UPDATES = 3
"""Calls kept for the updates, one a step."""


class Nothing(Teleprompter):
    """The baseline: returns a copy of the student, as it is."""

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """A copy of the student; the data are not looked at."""
        return copy_program(student)


class DirectTips(Teleprompter):
    """Writes experiences straight away: one call that sees tasks, and neither attempts at them nor their answers.

    Args:
        size: Experiences asked for.
        tasks: Tasks shown at most.
        seed: Draws the tasks.
    """

    def __init__(self, *, size: int = 20, tasks: int = 10, seed: int = 0) -> None:
        super().__init__()
        self.size, self.tasks, self.seed = size, tasks, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with a library that was written once."""
        task = Task(lambda *_: 0.0, self.seed, list(trainset), None)
        shown = [render_values(dict(example.inputs())) for example in task.sample(trainset, self.tasks)]
        reply = dspy.Predict(WriteExperiences)(
            objective=student.predictors()[0].signature.instructions,
            tasks=shown,
            limits=f"{self.size} experiences, of about 32 words each",
        )
        texts = [text for text in reply.experiences if text.strip()]
        written = [Add(text=text) for text in texts[: self.size]]
        return attach(student, ExperienceLibrary().apply(written, limits=Limits(max_words=None)).library)


def tfgrpo(metric: Metric, seed: int, calls: int | None, **settings: Any) -> Teleprompter:
    """Training-Free GRPO, with the paper's settings but for those given.

    At a budget the group size and the epochs stay, and as many training examples are drawn as it covers: rollouts,
    their summaries and a comparison per group, in each epoch. The cap itself is kept by the optimizer. As in the
    paper nothing is selected on a valset: it is left out.
    """
    return AtBudget(partial(_fit, settings), metric, seed, calls)


def no_ground_truth(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Expected outputs are never shown, and the group's majority is the reward (the paper's ablation)."""
    return tfgrpo(MajorityVote(), seed, calls, use_ground_truth=False)


def no_group(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Groups of one: each rollout is summarised and an experience extracted from it alone (the paper's ablation)."""
    return tfgrpo(metric, seed, calls, group_size=1, require_contrast=False)


def add_only(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """The library only grows: what the update would modify is added as an entry of its own, deletions are refused."""
    return tfgrpo(metric, seed, calls, review=only_additions)


def only_additions(library: ExperienceLibrary, proposals: Sequence[Proposed]) -> list[Decision]:
    """A review that lets a library grow and nothing else."""
    return [_addition(proposal) for proposal in proposals]


def _addition(proposal: Proposed) -> Decision:
    operation = proposal.operation
    if isinstance(operation, Modify):
        return Decision("edit", operation=Add(text=operation.text, reason=operation.reason, sources=operation.sources))
    if isinstance(operation, Delete):
        return Decision("refuse", "this library only grows")
    return Decision("accept")


def _fit(settings: dict[str, Any], task: Task) -> Fitted:
    if task.calls is None:
        optimizer = TrainingFreeGRPO(task.metric, seed=task.seed, display_progress=False, **settings)
        return Fitted(optimizer, {"trainset": task.trainset})
    size, epochs = settings.get("group_size", 5), settings.get("epochs", 3)
    share = REFLECTED if settings.get("require_contrast", True) else 1.0
    reflected = size + (1 if settings.get("update") == "batch" else 2)  # summaries, extraction, its candidate's update
    group = size * task.per_rollout + share * reflected
    task.check_covers(epochs * group + UPDATES, f"a single group of {size} in {epochs} epochs")
    affordable = int((task.calls - UPDATES) / (epochs * group))
    budget = Budget(max_lm_calls=task.calls)
    optimizer = TrainingFreeGRPO(task.metric, seed=task.seed, display_progress=False, budget=budget, **settings)
    return Fitted(optimizer, {"trainset": task.sample(task.trainset, affordable)})
