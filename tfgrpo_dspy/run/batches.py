"""The batches of a run: what one is, what the three steps make of it, and what it leaves to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tfgrpo_dspy.records.advantages import Contrast, SemanticAdvantage
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.updates import Proposal
from tfgrpo_dspy.rollouts.sampling import Query


class Step(NamedTuple):
    """One batch of one epoch."""

    epoch: int
    """From 1."""
    number: int
    """From 1, over all epochs."""
    queries: tuple[Query, ...]
    ends_epoch: bool


@dataclass(frozen=True, slots=True)
class Carried:
    """What a step could not use and the next one gets: nothing that was paid for is dropped."""

    contrasts: tuple[Contrast, ...] = ()
    """Groups whose extraction failed."""
    advantages: tuple[SemanticAdvantage, ...] = ()
    """Advantages whose update failed."""

    @classmethod
    def after(cls, contrasts: Sequence[Contrast], proposal: Proposal) -> Carried:
        """What a step leaves to the next one."""
        return cls(tuple(c for c in contrasts if c.is_carried), proposal.carried)

    def with_advantages_of(self, contrasts: Sequence[Contrast]) -> list[SemanticAdvantage]:
        """The carried advantages, then those of the contrasts, in order."""
        return [*self.advantages, *(c.advantage for c in contrasts if c.advantage is not None)]

    def as_failures(self) -> tuple[Failure, ...]:
        """What is left of it when no step follows."""
        remedy = "no step was left to use it"
        groups = [Failure("extraction", c.group.name, "its extraction failed", remedy) for c in self.contrasts]
        return (
            *groups,
            *(Failure("update", a.group, "its update failed", remedy) for a in self.advantages if a.experiences),
        )
