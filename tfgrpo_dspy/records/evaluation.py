"""How a program did: scores of one, of two compared, and the gain of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.looks.look import Look
from tfgrpo_dspy.looks.value import Shown, Tabular, plain
from tfgrpo_dspy.records.rollouts import Group, Scored
from tfgrpo_dspy.records.wording import estimate_text, gain_text, interval_text, lost_text, usage_text
from tfgrpo_dspy.statistics.estimates import Difference, Estimate, full_marks, pass_at_k
from tfgrpo_dspy.statistics.lost import IfLost, Side, difference_if_lost, verdict_on


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Tabular):
    """A program's rewards on a devset, k rollouts a question."""

    groups: tuple[Group, ...]
    """One per question, in devset order."""
    k: int
    """Rollouts asked for per question."""
    mean: Estimate
    """Mean@k with its interval over questions."""
    usage: Usage
    seconds: float
    """Wall-clock time."""
    stopped_by: str | None = None
    """What kept rollouts from being made, in which case the mean is over those that were; None for nothing."""
    traffic: Traffic = Traffic()
    """Requests at the endpoints; of an evaluation within a run they are in the run's own."""

    @property
    def rewards(self) -> tuple[tuple[float, ...], ...]:
        """One row per question; shorter than k where rollouts were lost."""
        return tuple(group.rewards for group in self.groups)

    @property
    def lost(self) -> Mapping[str, int]:
        """Lost rollouts by cause; never part of the mean."""
        return Counter(rollout.cause for group in self.groups for rollout in group.lost)

    @property
    def policy_failures(self) -> int:
        """Rollouts scored with the failure score because the program failed."""
        return sum(rollout.policy_failure is not None for group in self.groups for rollout in group.scored)

    @property
    def tool_calls(self) -> float:
        """Mean number of tool calls per scored rollout."""
        scored = [rollout.tool_calls for group in self.groups for rollout in group.scored]
        return sum(scored) / len(scored) if scored else 0.0

    @property
    def full_marks(self) -> float | None:
        """The reward of a right answer, by the scale of the metric; None where it is not known."""
        return full_marks(reward for rewards in self.rewards for reward in rewards)

    def pass_at(self, k: int, threshold: float | None = None) -> Estimate:
        """Unbiased Pass@k: the chance that at least one of k rollouts reaches the threshold.

        Args:
            k: Of so many, at most `self.k`.
            threshold: Reward from which an answer passes; None for `full_marks`.

        Raises:
            SettingsError: There are fewer rollouts, or rewards below 0 and no threshold.
        """
        if not 1 <= k <= self.k:
            raise SettingsError(f"pass_at(k) needs 1 <= k <= {self.k}, the rollouts that were made, got {k}")
        threshold = self.full_marks if threshold is None else threshold
        if threshold is None:
            raise SettingsError(
                "some rewards are below 0, so nothing says which answers are right; give pass_at(k, threshold=...)"
            )
        return pass_at_k(self.rewards, k, threshold=threshold)

    def look(self) -> Look:
        """The mean, and what keeps it from being all of it."""
        lost = lost_text(self.lost)
        lines = (
            f"lost, not part of the mean: {lost}" if lost else "",
            f"scored as failures of the program: {self.policy_failures}" if self.policy_failures else "",
            f"ended early: {self.stopped_by}" if self.stopped_by else "",
            f"{self.usage.lm_calls:,} LM calls, {usage_text(self.usage)}, {self.seconds:.1f} s",
        )
        title = f"Evaluation: mean {estimate_text(self.mean)} over {self.mean.n} questions x {self.k} rollouts"
        return Look(title, lines, more="each rollout: to_dataframe()")

    def rows(self) -> list[dict[str, Any]]:
        """A row per rollout."""
        return [
            {
                "question": at,
                **{str(name): plain(value) for name, value in group.example.items()},
                "rollout": rollout.name,
                "reward": rollout.reward if isinstance(rollout, Scored) else None,
                "output": rollout.answer if isinstance(rollout, Scored) else "",
                "feedback": rollout.feedback if isinstance(rollout, Scored) else "",
                "failed": rollout.policy_failure if isinstance(rollout, Scored) else f"lost: {rollout.error}",
                "seconds": rollout.seconds,
            }
            for at, group in enumerate(self.groups)
            for rollout in group.rollouts
        ]


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Tabular):
    """Two evaluations on the same questions, paired by question."""

    baseline: Evaluation
    candidate: Evaluation
    difference: Difference
    """Candidate minus baseline."""

    @property
    def if_lost(self) -> IfLost | None:
        """The difference with the lost rollouts scored against the candidate, and for it; None if none was lost."""
        both = (self.baseline, self.candidate)
        return difference_if_lost(*(Side(one.rewards, [len(group.lost) for group in one.groups]) for one in both))

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not distinguishable`, of the candidate, whatever its lost rollouts would have been."""
        return verdict_on(self.difference, self.if_lost)

    def look(self) -> Look:
        """Whether the candidate is better, by how much, and how sure that is."""
        rows = self.rows()
        better, worse = (sum((row["difference"] or 0) * sign > 0 for row in rows) for sign in (1, -1))
        lost, found = "", self.if_lost
        if found is not None:
            counts = [sum(one.lost.values()) for one in (self.baseline, self.candidate)]
            lost = (
                f"lost: {counts[0]} rollouts of the baseline, {counts[1]} of the candidate; scored against it the "
                f"difference is {interval_text(found.against)}, in its favour {interval_text(found.in_favour)}: "
                f"{self.verdict}"
            )
        lines = (
            f"baseline: {estimate_text(self.baseline.mean)}",
            f"candidate: {estimate_text(self.candidate.mean)}",
            f"of {len(rows)} questions {better} went better, {worse} worse",
            lost,
        )
        return Look(f"Comparison: {gain_text(self.difference)}", lines, more="each question: to_dataframe()")

    def rows(self) -> list[dict[str, Any]]:
        """A row per question."""
        return [
            {
                "question": at,
                **{str(name): plain(value) for name, value in before.example.items()},
                "baseline": (old := _mean(before)),
                "candidate": (new := _mean(after)),
                "difference": None if old is None or new is None else new - old,
            }
            for at, (before, after) in enumerate(zip(self.baseline.groups, self.candidate.groups, strict=True))
        ]


@dataclass(frozen=True, slots=True, repr=False)
class Gain(Shown):
    """The returned library against the one that the run began with."""

    difference: Difference | None
    """Learned minus initial, paired by problem, on fresh rollouts; None if it could not be measured."""
    withheld: str
    """Why the untouched student is returned; empty if the gain shows."""
    usage: Usage = Usage()

    def look(self) -> Look:
        """Whether it shows."""
        shown = f"{interval_text(self.difference)}, {self.difference.verdict}" if self.difference else "not measured"
        return Look(f"Gain: {shown}", (f"the student was returned: {self.withheld}" if self.withheld else "",))


def _mean(group: Group) -> float | None:
    return sum(group.rewards) / len(group.rewards) if group.rewards else None
