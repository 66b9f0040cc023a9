"""A gate that measures: E' replaces E only if it is shown not to be worse on held-out problems."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import Hearing
from tfgrpo_dspy.library.apply import Refusal
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.checks import check_examples
from tfgrpo_dspy.records.updates import Ruling, Trial, TrialVerdict
from tfgrpo_dspy.statistics.estimates import Rewards, paired_difference
from tfgrpo_dspy.statistics.sequential import evidence_above


@dataclass(frozen=True, slots=True)
class Holdout:
    """Both libraries on the same held-out problems, paired by problem, with fresh rollouts for every trial.

    Problems come in rounds, in an order drawn for each step; after each round the evidence is looked at (see
    `sequential`). E' enters once "E' is worse than E by `margin` or more" is refuted; it is refused once "E' is no
    worse" is, and when the problems are used up. In one step, a change that is that much worse enters with a chance of
    at most `alpha`, however often it was looked at. What is not covered: over many steps chances add up, and problems
    that many steps have been held against are, a little, chosen for; take a new set for the final judgement.

    Args:
        valset: Held-out problems; none of them should be in the trainset.
        k: Rollouts per problem, trial and library, >= 1.
        alpha: Chance, in (0, 1), that a step lets a worse library in.
        margin: How much worse, in units of the reward, counts as no worse; 0 asks for a gain that shows, which also
            keeps out what does nothing.
        looks: Rounds at most, >= 1; more stop earlier and wait more often.
        bounds: Lowest and highest possible reward.

    Raises:
        SettingsError, DataError: An argument cannot be used.
    """

    valset: Sequence[dspy.Example]
    k: int = 2
    alpha: float = 0.05
    margin: float = 0.0
    looks: int = 5
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "valset", check_examples(self.valset, "valset of the gate"))
        for name, least in (("k", 1), ("looks", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise SettingsError(f"{name} of Holdout must be a whole number >= {least}, got {value!r}")
        if not 0 < self.alpha < 1:
            raise SettingsError(f"alpha of Holdout is a chance between 0 and 1, e.g. 0.05, got {self.alpha!r}")
        if not self.bounds[0] < self.bounds[1]:
            raise SettingsError(f"bounds of Holdout must be (lowest, highest) reward, got {self.bounds!r}")
        if not 0 <= self.margin < self.span:
            raise SettingsError(f"margin of Holdout must be >= 0 and below the reward range, got {self.margin!r}")

    @property
    def span(self) -> float:
        """Width of the reward range."""
        return self.bounds[1] - self.bounds[0]

    @property
    def threshold(self) -> float:
        """Evidence that a trial must reach."""
        return 1 / self.alpha

    @property
    def most_rollouts(self) -> int:
        """Rollouts that a step may take at most."""
        return 2 * len(self.valset) * self.k

    def rule(self, hearing: Hearing) -> Ruling:
        """All operations, if the problems speak for the library that they make; else none."""
        before, after = hearing.library, hearing.after(hearing.operations)
        if before.experiences == after.experiences:
            return Ruling(hearing.operations)  # they change nothing; the library will say why
        trial, usage = self._try(before, after, hearing)
        passed = trial.verdict == "passed"
        refusals = () if passed else tuple(Refusal(operation, str(trial)) for operation in hearing.operations)
        return Ruling(hearing.operations if passed else (), refusals, (trial,), usage)

    def _try(self, before: ExperienceLibrary, after: ExperienceLibrary, hearing: Hearing) -> tuple[Trial, Usage]:
        step, seed = hearing.briefing.step, hearing.briefing.settings.seed
        problems, usage = list(self.valset), Usage()
        random.Random(f"{seed}/{step}/gate").shuffle(problems)
        size = -(-len(problems) // self.looks)
        trial = _Trial(self, len(hearing.operations))
        for start in range(0, len(problems), size):
            made = hearing.bench.try_out(
                (before, after),
                problems[start : start + size],
                purpose=f"gate {start} seed {seed}",
                step=step,
                k=self.k,
            )
            usage += made[0].usage + made[1].usage
            trial = trial.with_round(made[0].rewards, made[1].rewards)
            if trial.is_over or not all(tried.is_whole for tried in made):
                break
        return trial.finished(), usage


@dataclass(frozen=True, slots=True)
class _Trial:
    """A trial under way."""

    gate: Holdout
    operations: int
    before: tuple[tuple[float, ...], ...] = ()
    after: tuple[tuple[float, ...], ...] = ()
    looks: int = 0

    def with_round(self, before: Rewards, after: Rewards) -> _Trial:
        """One more look."""
        rows = [tuple(tuple(row) for row in rewards) for rewards in (before, after)]
        return replace(self, before=self.before + rows[0], after=self.after + rows[1], looks=self.looks + 1)

    @property
    def differences(self) -> list[float]:
        """E' minus E of each problem that both answered."""
        pairs = zip(self.before, self.after, strict=True)
        return [fsum(a) / len(a) - fsum(b) / len(b) for b, a in pairs if a and b]

    @property
    def span(self) -> float:
        """The reward range, widened to hold what was seen."""
        return max([self.gate.span, *map(abs, self.differences)])

    @property
    def evidence(self) -> float:
        """Against "worse by the margin or more"."""
        return evidence_above(self.differences, -self.gate.margin, span=self.span)

    @property
    def is_worse(self) -> bool:
        """Whether "no worse" is refuted."""
        return evidence_above([-d for d in self.differences], span=self.span) >= 1 / self.gate.alpha

    @property
    def is_over(self) -> bool:
        """Whether it is clear."""
        return self.evidence >= self.gate.threshold or self.is_worse

    def finished(self) -> Trial:
        """What came out of it."""
        gate, made = self.gate, sum(len(row) for row in (*self.before, *self.after))
        if not self.differences:
            return Trial(self.operations, "not measured", None, 1.0, gate.threshold, self.looks, made)
        verdict: TrialVerdict = "worse" if self.is_worse else "not shown"
        verdict = "passed" if self.evidence >= gate.threshold else verdict
        difference = paired_difference(self.before, self.after)
        return Trial(self.operations, verdict, difference, self.evidence, gate.threshold, self.looks, made)
