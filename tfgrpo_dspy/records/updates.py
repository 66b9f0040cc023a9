"""Step 3 as values: what is proposed, how it is ruled on, what becomes of the library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tfgrpo_dspy.library.apply import By, Change, Limits, Refusal
from tfgrpo_dspy.library.experience import Circumstances, Source
from tfgrpo_dspy.library.leaks import Flag
from tfgrpo_dspy.library.library import Applied, ExperienceLibrary
from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import Fate, SemanticAdvantage
from tfgrpo_dspy.records.failures import Failure, are_final
from tfgrpo_dspy.statistics.estimates import Difference


@dataclass(frozen=True, slots=True)
class Learned:
    """What is noted in a library that a run changed."""

    lms: tuple[str, ...] = ()
    """Names of the run's LMs."""
    under: Circumstances = field(default_factory=Circumstances)


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
    """E' minus E, for information: its interval is that of one look, the verdict rests on `surely_above`."""
    surely_above: float | None
    """What E' minus E is surely above, all looks and lost rollouts considered; passed above minus `margin`."""
    margin: float
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
        return f"{told}: {figures}, surely above {self.surely_above or 0.0:+.3f}, margin {self.margin:g}"


@dataclass(frozen=True, slots=True)
class Update:
    """What the LM would do to the library, of a batch's advantages or of a library that is too long."""

    rounds: tuple[tuple[Operation, ...], ...] = ()
    """Operations, those of a later question on the library that those before it make."""
    undecided: tuple[SemanticAdvantage, ...] = ()
    """Advantages with those of their candidates about which nothing could be had."""
    decided: tuple[Fate, ...] = ()
    """What was decided about candidates that the operations do not tell: refused, or that it corrects an entry."""
    failures: tuple[Failure, ...] = ()
    """Why not; empty if all was decided."""
    usage: Usage = Usage()

    @property
    def is_final(self) -> bool:
        """Whether it is a result: the endpoint was reached, and the budget allowed it."""
        return are_final(self.failures)


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that would change the library in one step (paper, section 3, step 3), before anyone ruled on it."""

    library: ExperienceLibrary
    """E, as the step found it."""
    step: int = 1
    operations: tuple[Operation, ...] = ()
    """On E: those of the update, with what pruning, condensing and trimming would make of them."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """What the labels in the operations' `sources` stand for."""
    by: Mapping[Operation, By] = field(default_factory=dict)
    """What asks for an operation, where that is not the update."""
    limits: Limits = field(default_factory=Limits)
    learned: Learned = field(default_factory=Learned)
    refusals: tuple[Refusal, ...] = ()
    """Operations of the update that are no part of it any more."""
    carried: tuple[SemanticAdvantage, ...] = ()
    """Advantages about which the update failed: they go into the next step's."""
    decided: tuple[Fate, ...] = ()
    """What was decided about candidates that the operations do not tell."""
    failures: tuple[Failure, ...] = ()
    usage: Usage = Usage()

    def after(self, operations: Iterable[Operation]) -> Applied:
        """E', if these of its operations enter, and those that a person wrote in place of them."""
        chosen = tuple(operations)
        own = set(self.operations)
        by: dict[Operation, By] = {o: self.by.get(o, "update") if o in own else "person" for o in chosen}
        applied = self.library.apply(chosen, step=self.step, sources=self.sources, limits=self.limits, by=by)
        if not applied.changes:
            return applied
        names = {*applied.library.learned_with, *self.learned.lms}
        library = replace(applied.library, learned_with=tuple(sorted(names)), learned_under=self.learned.under)
        return applied._replace(library=library)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a gate decided about a proposal."""

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
class Enacted:
    """What became of a proposal: the one value that a step leaves a library by."""

    library: ExperienceLibrary
    """E'."""
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    """Of all that was proposed, with the reason."""
    trials: tuple[Trial, ...] = ()
    """What gates measured for it."""
    usage: Usage = Usage()
    """Of the gates."""
    flags: tuple[Flag, ...] = ()
    """What a reader should look at in the changes."""
