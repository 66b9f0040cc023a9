"""Adaptive groups: start small, and stop sampling when a contrast is found or the group is hopeless (ours).

A group starts with a few rollouts. While their rewards are equal, one more is drawn, up to G. It is hopeless, and ends
small, when all of its rewards so far equal the one reward that its example's last group had, from first rollout to
last: under two libraries in a row no rollout has told the answers apart. What counts is known before a step begins or
stands in the group itself, so neither timing nor a resumed run changes who is rolled out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tfgrpo_dspy.records.rollouts import Group, example_of


@dataclass(frozen=True, slots=True)
class Stopping:
    """When a group that starts small is large enough."""

    start: int
    """Rollouts that every group has, >= 2."""
    tolerance: float
    """Rewards that differ by no more count as equal."""
    in_pairs: bool = False
    """Whether a group ends with an even number of rollouts, short of G: where experiences are on trial, one of each two
    reads one, and a group that could end between them would count the luckier side."""
    stuck: Mapping[str, float] = field(default_factory=dict)
    """Examples (`e12`) whose last group had no contrast, and the one reward that it had."""

    def is_enough(self, group: Group) -> bool:
        """Whether a group, as far as it is rolled out, needs no further rollout."""
        if any(lost.cause == "budget" for lost in group.lost):
            return True
        if self.in_pairs and len(group.rollouts) % 2:
            return False
        if group.is_informative(self.tolerance):
            return True
        known, rewards = self.stuck.get(example_of(group.name)), group.rewards
        if known is None or len(rewards) < self.start:
            return False
        return all(abs(reward - known) <= self.tolerance for reward in rewards)

    def after(self, groups: Sequence[Group]) -> Stopping:
        """The rule for the next step, once these groups are whole."""
        stuck = dict(self.stuck)
        for group in groups:
            stuck.pop(example_of(group.name), None)
            whole = len(group.rewards) >= self.start and not any(lost.cause == "budget" for lost in group.lost)
            if whole and not group.is_informative(self.tolerance):
                stuck[example_of(group.name)] = group.rewards[0]
        return replace(self, stuck=stuck)
