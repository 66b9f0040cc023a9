"""Chains such as `tfgrpo->bootstrap-fewshot`: each optimizer starts from what the one before returned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.scaling import Examples, Make, capped_at, own_copy
from tfgrpo_dspy.rewards import Metric

ARROW = "->"


class Chain(Teleprompter):
    """Compiles with one optimizer after the other.

    Unlike `dspy.BetterTogether` it needs no LM set on the student, makes no evaluations of its own and returns the
    last program, so that its cost is that of its parts.

    Args:
        parts: The optimizers, first to last.
    """

    def __init__(self, parts: Sequence[Teleprompter]) -> None:
        super().__init__()
        self.parts = tuple(parts)

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """What the last part returned."""
        program = student
        for part in self.parts:
            program = part.compile(own_copy(program), trainset=trainset, valset=valset)
        return program


def chain(parts: Sequence[tuple[Make, bool]], metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """The chain of these factories, each with whether it can spend a larger budget."""
    return capped_at(partial(_chained, parts), metric, seed, calls)


def _chained(parts: Sequence[tuple[Make, bool]], metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    budgets = shares(calls, [spends for _, spends in parts])
    return Chain([make(metric, seed, share) for (make, _), share in zip(parts, budgets, strict=True)])


def shares(calls: int | None, spends: Sequence[bool]) -> list[int | None]:
    """The budget of each part: a tenth for one that takes few calls, what is left equally among the others.

    >>> shares(300, [True, False])
    [270, 30]
    """
    if calls is None:
        return [None] * len(spends)
    little, spending = max(1, calls // 10), sum(spends)
    most = (calls - little * (len(spends) - spending)) // max(1, spending)
    return [max(1, most) if spender else little for spender in spends]
