"""ReasoningBank: memory items from attempts that the LM judges itself, the nearest shown (arXiv 2509.25140).

Own implementation: one attempt per task, judged without the expected output, up to three items from it, told apart
by success and failure; with a new task, the items of the nearest past task are shown. Different: tasks are found by
BM25 rather than embeddings, the bank is filled on the trainset and then stays, and nothing is scaled at test time
(their MaTTS).
"""

from __future__ import annotations

from collections.abc import Sequence

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.nearest import Case, KnowledgeBase, Retrieving
from optimizers.notes import ROUND, SHOWN_TOKENS, ask_all, describe_task, practise, until_spent
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from optimizers.signatures import EvaluateAttempt, ExtractMemories
from tfgrpo_dspy import BM25, Scored
from tfgrpo_dspy.kit import shorten
from tfgrpo_dspy.rewards import Metric

ITEMS = 3
"""Memory items of an attempt at most."""
NEAREST = 1
"""Past tasks whose items are shown (the paper found more to harm)."""


class ReasoningBank(Teleprompter):
    """Fills a bank with what one attempt at each training example teaches; no label is looked at.

    Args:
        metric: Not asked: the LM judges the attempts. The reward is what a table says of them.
        seed: Draws the attempts.
    """

    def __init__(self, metric: Metric, *, seed: int = 0) -> None:
        super().__init__()
        self.metric, self.seed = metric, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with the bank."""
        cases: list[Case] = []
        with until_spent():
            for start in range(0, len(trainset), ROUND):
                examples = trainset[start : start + ROUND]
                groups = practise(student, examples, self.metric, self.seed, start)
                cases += remembered([(e, scored[0]) for e, scored in zip(examples, groups, strict=True) if scored])
        return Retrieving(student, KnowledgeBase(cases), count=NEAREST)


def remembered(attempted: Sequence[tuple[dspy.Example, Scored]]) -> list[Case]:
    """What each attempt teaches, as far as it teaches anything."""
    shown = [
        {"task": describe_task(dict(example.inputs())), "trajectory": shorten(made.trajectory, SHOWN_TOKENS)}
        for example, made in attempted
    ]
    judged = ask_all(EvaluateAttempt, shown)
    succeeded = [verdict is not None and verdict.is_correct for verdict in judged]
    told = [one | {"outcome": "success" if s else "failure"} for one, s in zip(shown, succeeded, strict=True)]
    return [
        Case(one["task"], "\n".join(f"- {text}" for text in items.insights[:ITEMS]))
        for one, items in zip(told, ask_all(ExtractMemories, told), strict=True)
        if items is not None and items.insights
    ]


def reasoning_bank(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """ReasoningBank; a budget draws the examples, each with an attempt, a judgement and an extraction."""
    BM25().rank([])  # says what is not installed before anything is paid for
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    task.check_covers(task.per_rollout + 2, "an attempt, a judgement and an extraction")
    affordable = len(task.trainset) if task.calls is None else int(task.calls / (task.per_rollout + 2))
    return Fitted(ReasoningBank(task.metric, seed=task.seed), {"trainset": task.sample(task.trainset, affordable)})
