"""How a program did: scores of one, of two compared, and the gain of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.statistics.estimates import Difference, Estimate, pass_at_k


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

    def pass_at(self, k: int, threshold: float = 1.0) -> Estimate:
        """Unbiased Pass@k: the chance that at least one of k rollouts reaches the threshold; k <= `self.k`."""
        if not 1 <= k <= self.k:
            raise SettingsError(f"pass_at(k) needs 1 <= k <= {self.k}, the rollouts that were made, got {k}")
        return pass_at_k(self.rewards, k, threshold=threshold)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations on the same questions, paired by question."""

    baseline: Evaluation
    candidate: Evaluation
    difference: Difference
    """Candidate minus baseline."""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not distinguishable`, of the candidate."""
        return self.difference.verdict


@dataclass(frozen=True, slots=True)
class Gain:
    """The returned library against the one that the run began with."""

    difference: Difference | None
    """Learned minus initial, paired by problem, on fresh rollouts; None if it could not be measured."""
    withheld: str
    """Why the untouched student is returned; empty if the gain shows."""
    usage: Usage = Usage()
