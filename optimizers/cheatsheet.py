"""Dynamic Cheatsheet: a text of strategies and snippets, rewritten after every task (arXiv 2504.07952).

The cumulative variant (DC-Cu), own implementation. No reward and no label is looked at: the curator judges by the
attempt alone. Different: the cheatsheet is written on the trainset and then stays, so that held-out questions are
answered independently of each other.
"""

from __future__ import annotations

import random

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import SHOWN_TOKENS, describe_task, practise, until_spent, with_notes
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from optimizers.signatures import RewriteCheatsheet
from tfgrpo_dspy.kit import shorten
from tfgrpo_dspy.rewards import Metric

_HEADING = "A cheatsheet from earlier tasks. Use what applies:"


class DynamicCheatsheet(Teleprompter):
    """Rewrites a cheatsheet task by task, in one pass over the trainset.

    The returned program reads it, and has it as `cheatsheet`.

    Args:
        metric: Not asked; the reward is what a table says of the attempts.
        tasks: How many; None for the whole trainset.
        seed: Draws their order.
    """

    def __init__(self, metric: Metric, *, tasks: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.metric, self.tasks, self.seed = metric, tasks, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with its cheatsheet."""
        cheatsheet, curator = "", dspy.Predict(RewriteCheatsheet)
        order = random.Random(self.seed).sample(trainset, len(trainset))
        with until_spent():
            for position, example in enumerate(order[: self.tasks]):
                (made,) = practise(_reading(student, cheatsheet), [example], self.metric, self.seed, position)
                for attempt in made:
                    cheatsheet = curator(
                        cheatsheet=cheatsheet,
                        task=describe_task(dict(example.inputs())),
                        trajectory=shorten(attempt.trajectory, SHOWN_TOKENS),
                    ).new_cheatsheet
        program = _reading(student, cheatsheet)
        program.cheatsheet = cheatsheet
        return program


def _reading(student: dspy.Module, cheatsheet: str) -> dspy.Module:
    return with_notes(student, "cheatsheet", _HEADING, cheatsheet or "(empty)")


def dynamic_cheatsheet(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Dynamic Cheatsheet; a budget sets how many tasks are taken, each with an attempt and a call of the curator."""
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    task.check_covers(task.per_rollout + 1, "an attempt and the curator's call")
    tasks = None if task.calls is None else int(task.calls / (task.per_rollout + 1))
    return Fitted(DynamicCheatsheet(task.metric, tasks=tasks, seed=task.seed), {"trainset": task.trainset})
