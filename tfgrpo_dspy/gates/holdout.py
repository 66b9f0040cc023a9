"""A gate that measures: E' replaces E only if it is shown not to be worse, by a margin, on held-out problems."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from statistics import NormalDist

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

    Non-inferiority: E' enters once E' - E is surely above minus the margin, which most updates that change nothing pass
    and those that lose the margin or more do with a chance of at most `alpha`; it is refused once "E' is no worse" is
    refuted, and when the problems are used up. Problems come in rounds, in an order drawn for each step; half of
    `alpha` is for the last look, the other half for those before. Lost rollouts are scored against whoever profits.

    With few problems it keeps nearly everything out, which `power` says beforehand. Over many steps chances add up, and
    problems that many steps have been held against are, a little, chosen for; take a new set for the final judgement.

    Args:
        valset: Held-out problems; none of them should be in the trainset.
        k: Rollouts per problem, trial and library, >= 1.
        alpha: Chance, in (0, 1), that a step lets in what is worse by the margin.
        margin: How much worse, in units of the reward, counts as no worse; None for a tenth of the reward range. 0 asks
            for a gain that shows, which also keeps out what does nothing.
        looks: Rounds at most, >= 1; more stop earlier and wait more often.
        bounds: Lowest and highest possible reward.

    Raises:
        SettingsError, DataError: An argument cannot be used.
    """

    valset: Sequence[dspy.Example]
    k: int = 2
    alpha: float = 0.05
    margin: float | None = None
    looks: int = 3
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
        if not 0 <= self.least < self.span:
            raise SettingsError(f"margin of Holdout must be >= 0 and below the reward range, got {self.margin!r}")

    @property
    def span(self) -> float:
        """Width of the reward range."""
        return self.bounds[1] - self.bounds[0]

    @property
    def least(self) -> float:
        """The margin in units of the reward."""
        return self.span / 10 if self.margin is None else self.margin

    def level_at(self, look: int) -> float:
        """Level of the two-sided interval whose lower end decides at a look, from 1."""
        if self.looks == 1:
            return 1 - 2 * self.alpha
        return 1 - self.alpha if look >= self.looks else 1 - self.alpha / (self.looks - 1)

    def power(self, gain: float) -> float:
        """About how likely an update with that true gain is to enter, at the last look, with rewards of 0 or 1.

        Problems are taken to be answered rightly two times in three, and the gain to be the same on each.
        """
        spread = self.span * sqrt(2 * (2 / 9) / self.k / len(self.valset))
        needed = NormalDist().inv_cdf((1 + self.level_at(self.looks)) / 2)
        return NormalDist().cdf((gain + self.least) / spread - needed)

    def power_text(self) -> str:
        """What it lets pass, in one sentence."""
        shares = ", ".join(
            f"{what} in {self.power(gain):.0%}"
            for what, gain in (
                (f"one that gains {self.span / 20:g}", self.span / 20),
                ("one that changes nothing", 0.0),
                (f"one that loses {self.least:g}", -self.least),
            )
        )
        return f"the gate, with {len(self.valset)} problems and k={self.k}, lets an update pass: {shares} of cases"

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
        """Look after each round, until it is clear, the problems are used up, or the budget does not allow more."""
        step, seed = hearing.briefing.step, hearing.briefing.settings.seed
        problems, usage = list(self.valset), Usage()
        random.Random(f"{seed}/{step}/gate").shuffle(problems)
        size = -(-len(problems) // self.looks)
        rows: tuple[list[Sequence[float]], list[Sequence[float]]] = [], []
        for looks, start in enumerate(range(0, len(problems), size), start=1):
            made = hearing.evaluator.try_out(
                (before, after),
                problems[start : start + size],
                purpose=f"gate {start} seed {seed}",
                step=step,
                k=self.k,
            )
            for side, tried in zip(rows, made, strict=True):
                side.extend(tried.rewards)
            usage += made[0].usage + made[1].usage
            verdict, surely = self._verdict(*rows, looks)
            if verdict in ("passed", "worse") or not all(tried.is_whole for tried in made):
                break
        difference = None if surely is None else paired_difference(*rows)
        rollouts = sum(len(row) for side in rows for row in side)
        return Trial(len(hearing.operations), verdict, difference, surely, self.least, looks, rollouts), usage

    def _verdict(self, before: Rewards, after: Rewards, look: int) -> tuple[TrialVerdict, float | None]:
        """What can be said at a look, from 1, and what E' - E is surely above.

        Rollouts that are missing are scored against E' for the one, and in its favour before it is called worse.
        """
        if not any(b and a for b, a in zip(before, after, strict=True)):
            return "not measured", None
        seen = [reward for row in (*before, *after) for reward in row]
        low, high = min([self.bounds[0], *seen]), max([self.bounds[1], *seen])

        def filled(rows: Rewards, reward: float) -> list[list[float]]:
            return [[*row, *[reward] * (self.k - len(row))] for row in rows]

        level = self.level_at(look)
        surely = paired_difference(filled(before, high), filled(after, low), level=level, bounds=(low, high)).low
        if surely > -self.least:
            return "passed", surely
        rows = zip(filled(before, low), filled(after, high), strict=True)
        losses = [fsum(b) / len(b) - fsum(a) / len(a) for b, a in rows]
        is_worse = evidence_above(losses, span=high - low) >= 1 / self.alpha
        return "worse" if is_worse else "not shown", surely
