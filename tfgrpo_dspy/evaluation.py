"""Evaluation with error bars: k fresh rollouts per question, and the paired comparison of two programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfgrpo_dspy.estimates import Estimate
from tfgrpo_dspy.events import Usage
from tfgrpo_dspy.rollout import Group


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A program's rewards on a devset, k rollouts a question."""

    groups: tuple[Group, ...]
    """One per question, in devset order."""
    k: int
    """Rollouts asked for per question."""
    mean: Estimate
    """Mean@k with its interval over questions."""
    usage: Usage
    seconds: float

    @property
    def lost(self) -> Mapping[str, int]:
        """Lost rollouts by cause; never part of the mean."""
        causes: dict[str, int] = {}
        for rollout in (r for g in self.groups for r in g.lost):
            causes[rollout.cause] = causes.get(rollout.cause, 0) + 1
        return causes
