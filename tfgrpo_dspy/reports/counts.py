"""The figures of a step that every page about a run shows."""

from __future__ import annotations

from collections.abc import Sequence

from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.statistics.estimates import Estimate, mean_at_k


def reward_estimate(groups: Sequence[Group]) -> Estimate | None:
    """Mean@G: the mean over queries of the mean reward of their rollouts, with its interval over queries.

    Of adaptive groups the first rollouts alone, as sampling that stops when rewards differ draws the mean of the rest
    towards the middle. Groups that lost every rollout are left out. None if that leaves none.
    """
    rewards = [g.fair_rewards for g in groups if g.fair_rewards]
    return mean_at_k(rewards) if rewards else None


def operation_counts(record: StepRecord) -> dict[str, int]:
    """How many operations of each kind took effect, and how many were refused."""
    counts = dict.fromkeys(("add", "modify", "delete", "keep"), 0)
    for change in record.changes:
        counts[change.kind] += 1
    return {**counts, "refused": len(record.refusals)}
