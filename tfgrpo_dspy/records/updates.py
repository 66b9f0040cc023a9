"""What a gate decided, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tfgrpo_dspy.library.library import Refusal, Source
from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.statistics.estimates import Difference

TrialVerdict = Literal["passed", "worse", "not shown", "not measured"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A changed library E' against the present one E on the same held-out problems."""

    operations: int
    """How many of the update's operations made the difference."""
    verdict: TrialVerdict
    """`passed`: shown to be no worse than the margin allows; `worse`: shown to be worse; `not shown`: neither, when all
    problems were used up; `not measured`: no problem was answered under both."""
    difference: Difference | None
    """E' minus E, for information: its interval is that of a test with one look, the verdict rests on `evidence`."""
    evidence: float
    """How many times a stake against "E' is worse" was multiplied; passed at `threshold`."""
    threshold: float
    looks: int
    rollouts: int
    """Made for it, of both libraries."""

    def __str__(self) -> str:
        """In one sentence."""
        if self.difference is None:
            return "no held-out problem was answered under both libraries"
        d = self.difference
        figures = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] on {d.n} held-out problems"
        told = {"passed": "not worse", "worse": "worse", "not shown": "not shown to be no worse"}[self.verdict]
        return f"{told}: {figures}, evidence {self.evidence:.2g} of {self.threshold:g}"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a gate decided about an update."""

    operations: tuple[Operation, ...] = ()
    """Those that may enter."""
    refusals: tuple[Refusal, ...] = ()
    """The others, with the reason."""
    trials: tuple[Trial, ...] = ()
    """What was measured for it, in order."""
    usage: Usage = Usage()
    """What it took."""

    def then(self, next_: Ruling) -> Ruling:
        """This ruling, and another one on what it let pass."""
        refusals, trials = (*self.refusals, *next_.refusals), (*self.trials, *next_.trials)
        return Ruling(next_.operations, refusals, trials, self.usage + next_.usage)


@dataclass(frozen=True, slots=True)
class Update:
    """What step 3 decided."""

    operations: tuple[Operation, ...] = ()
    sources: Mapping[str, Source] | None = None
    """What the labels in the operations' `sources` stand for."""
    carried: tuple[SemanticAdvantage, ...] = ()
    """All advantages, if the update failed: they go into the next step's update."""
    failures: tuple[Failure, ...] = ()
    usage: Usage = Usage()
    edited: tuple[Operation, ...] = ()
    """Those of the operations that a person wrote in place of the LM's."""
    refusals: tuple[Refusal, ...] = ()
    """Operations that a person or a gate refused."""
    ruling: Ruling | None = None
    """What a gate measured; None without one, and if there was nothing to rule on."""
