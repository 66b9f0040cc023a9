"""Nearest past attempts: summaries of what earned something, the nearest of which are shown with a new task.

The plain form of learning from one's own cases, with BM25 over the words of the tasks. Agent KB (arXiv 2507.06229),
which shares it, is more: two levels of knowledge, a teacher who revises the trace, and a gate on disagreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import ROUND, ask_all, describe_task, practise, render_shown, told_of, until_spent, with_notes
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from tfgrpo_dspy import BM25
from tfgrpo_dspy.kit import SummarizeRollout
from tfgrpo_dspy.rewards import Metric

_HEADING = "Attempts at similar tasks, and how they went. Use what helps with the task at hand:"


@dataclass(frozen=True, slots=True)
class Case:
    """A past attempt."""

    task: str
    summary: str
    reward: float | None = None
    """None where it is not known."""


class KnowledgeBase:
    """Cases, found by the words that their tasks share with a new one."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = tuple(cases)
        self._ranking = BM25().rank([case.task for case in cases])

    def nearest(self, task: str, count: int) -> list[Case]:
        """The cases nearest to a task, nearest first; those that share no word are left out."""
        return [self.cases[match.position] for match in self._ranking.best(task, count)]


class Retrieving(dspy.Module):
    """A program that is shown the nearest cases with every task.

    Args:
        program: What works on the task.
        base: Where the cases come from.
        count: Cases shown at most.
    """

    def __init__(self, program: dspy.Module, base: KnowledgeBase, count: int = 3) -> None:
        super().__init__()
        self.program, self.base, self.count = program, base, count

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The program's prediction, after reading the cases."""
        cases = self.base.nearest(describe_task(inputs), self.count)
        if not cases:
            return self.program(**inputs)
        shown = render_shown((f"{case.task}\n{case.summary}", case.reward) for case in cases)
        return with_notes(self.program, "earlier-attempts", _HEADING, shown)(**inputs)


class NearestAttempts(Teleprompter):
    """Fills a knowledge base with the best of k attempts at each training example that earned anything, in summary.

    Args:
        metric: Scores the attempts.
        k: Attempts per example, >= 1.
        seed: Draws them.
    """

    def __init__(self, metric: Metric, *, k: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.metric, self.k, self.seed = metric, k, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with the knowledge base."""
        cases: list[Case] = []
        with until_spent():
            for start in range(0, len(trainset), ROUND):
                cases += self._cases(student, trainset[start : start + ROUND], start)
        return Retrieving(student, KnowledgeBase(cases))

    def _cases(self, student: dspy.Module, examples: Examples, round_: int) -> list[Case]:
        groups = practise(student, examples, self.metric, self.seed, round_, self.k)
        best = [max(scored, key=lambda rollout: rollout.reward) if scored else None for scored in groups]
        objective = {"objective": student.predictors()[0].signature.instructions}
        worth = [(e, one) for e, one in zip(examples, best, strict=True) if one is not None and one.reward > 0]
        told = ask_all(SummarizeRollout, [objective | told_of(example, one) for example, one in worth])
        return [
            Case(describe_task(dict(example.inputs())), said.summary, one.reward)
            for (example, one), said in zip(worth, told, strict=True)
            if said is not None
        ]


def nearest_attempts(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Nearest past attempts; a budget sets the attempts per example, and draws examples where it is too small."""
    BM25().rank([])  # says what is not installed before anything is paid for
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    if task.calls is None:
        return Fitted(NearestAttempts(task.metric, seed=task.seed), {"trainset": task.trainset})
    task.check_covers(task.per_rollout + 1, "an attempt and its summary")
    shown = task.sample(task.trainset, int(task.calls / (task.per_rollout + 1)))
    k = max(1, task.affordable(task.calls - len(shown)) // len(shown))
    return Fitted(NearestAttempts(task.metric, k=k, seed=task.seed), {"trainset": shown})
