"""A gate that measures: E' replaces E only if it is shown not to be worse on held-out problems."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import fsum

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import Hearing
from tfgrpo_dspy.library.library import ExperienceLibrary, Refusal
from tfgrpo_dspy.library.operations import Operation
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
    at most `alpha`, however often it was looked at and however the update was split: the trials that a step may make
    share alpha equally. What is not covered: over many steps chances add up, and problems that many steps have been
    held against are, a little, chosen for; take a new set for the final judgement.

    Args:
        valset: Held-out problems; none of them should be in the trainset.
        k: Rollouts per problem, trial and library, >= 1.
        alpha: Chance, in (0, 1), that a step lets a worse library in.
        margin: How much worse, in units of the reward, counts as no worse; 0 asks for a gain that shows, which also
            keeps out what does nothing.
        splits: How often a refused update is halved, so that the harmless part of it may enter; at most
            2^(splits+1) - 1 trials a step.
        looks: Rounds at most, >= 1; more stop earlier and wait more often.
        bounds: Lowest and highest possible reward.

    Raises:
        SettingsError, DataError: An argument cannot be used.
    """

    valset: Sequence[dspy.Example]
    k: int = 2
    alpha: float = 0.05
    margin: float = 0.0
    splits: int = 1
    looks: int = 5
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "valset", check_examples(self.valset, "valset of the gate"))
        for name, least in (("k", 1), ("splits", 0), ("looks", 1)):
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
    def most_trials(self) -> int:
        """Trials that a step may make at most."""
        return int(2 ** (self.splits + 1)) - 1

    @property
    def threshold(self) -> float:
        """Evidence that a trial must reach."""
        return self.most_trials / self.alpha

    @property
    def most_rollouts(self) -> int:
        """Rollouts that a step may take at most."""
        return self.most_trials * 2 * len(self.valset) * self.k

    def rule(self, hearing: Hearing) -> Ruling:
        """The operations that the problems speak for."""
        return _Session(self, hearing).rule(hearing.operations)


@dataclass(slots=True)
class _Session:
    """The trials of one step."""

    gate: Holdout
    hearing: Hearing
    entered: tuple[Operation, ...] = ()
    """What has passed so far; later trials start from it."""
    refusals: list[Refusal] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    def rule(self, operations: tuple[Operation, ...]) -> Ruling:
        self._admit(operations, self.gate.splits)
        order = {id(operation): place for place, operation in enumerate(operations)}
        entered = tuple(sorted(self.entered, key=lambda operation: order[id(operation)]))
        return Ruling(entered, tuple(self.refusals), tuple(self.trials), self.usage)

    def _admit(self, operations: tuple[Operation, ...], splits: int) -> None:
        before, after = (self.hearing.after(chosen) for chosen in (self.entered, (*self.entered, *operations)))
        if before.experiences == after.experiences:
            self.entered += operations  # they change nothing; the library will say why
            return
        trial = self._try(before, after, len(operations))
        self.trials.append(trial)
        if trial.verdict == "passed":
            self.entered += operations
        elif splits and len(operations) > 1 and trial.verdict != "not measured":
            half = (len(operations) + 1) // 2
            self._admit(operations[:half], splits - 1)
            self._admit(operations[half:], splits - 1)
        else:
            self.refusals += [Refusal(operation, str(trial)) for operation in operations]

    def _try(self, before: ExperienceLibrary, after: ExperienceLibrary, operations: int) -> Trial:
        briefing = self.hearing.briefing
        number = len(self.trials)
        problems = list(self.gate.valset)
        random.Random(f"{briefing.settings.seed}/{briefing.step}/{number}/gate").shuffle(problems)
        size = -(-len(problems) // self.gate.looks)
        trial = _Trial(self.gate, operations)
        for start in range(0, len(problems), size):
            purpose = f"gate {number}.{start} seed {briefing.settings.seed}"
            made = self.hearing.bench.try_out(
                (before, after), problems[start : start + size], purpose=purpose, step=briefing.step, k=self.gate.k
            )
            self.usage += made[0].usage + made[1].usage
            trial = trial.with_round(made[0].rewards, made[1].rewards)
            if trial.is_over or not all(tried.is_whole for tried in made):
                break
        return trial.finished()


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
        """Whether "no worse" is refuted; a wrong refusal is the cheaper mistake, so trials do not share alpha here."""
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
