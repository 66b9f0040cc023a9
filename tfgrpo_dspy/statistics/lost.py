"""What lost rollouts could have been: a comparison with all of them scored against a side, and for it; pure.

Rollouts are seldom lost at random: long answers time out, and those are often wrong. Of a candidate whose wrong
rollouts run into a limit a fifth of the time, without any true effect, a comparison of the others says "better" in up
to a third of cases. So what is called better or worse has to be so whatever the lost ones would have been.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfgrpo_dspy.statistics.estimates import Difference, Rewards, Verdict, paired_difference


class Side(NamedTuple):
    """A program on the questions of a comparison."""

    rewards: Rewards
    lost: Sequence[int]
    """Rollouts that were lost, by question."""


class IfLost(NamedTuple):
    """The difference with the lost rollouts scored one way or the other."""

    against: Difference
    """The candidate's lost ones at the lowest reward, the baseline's at the highest."""
    in_favour: Difference
    """The other way round."""


def difference_if_lost(
    a: Side, b: Side, *, level: float = 0.95, bounds: tuple[float, float] | None = None
) -> IfLost | None:
    """What `b - a` would be with the lost rollouts at either end of the rewards; None if none was lost.

    Args:
        a: The baseline.
        b: The candidate, on the same questions.
        level: Confidence level, in (0, 1).
        bounds: Lowest and highest reward that is possible. Default: [0, 1], widened to hold every reward seen.
    """
    if not any(a.lost) and not any(b.lost):
        return None
    seen = [reward for side in (a, b) for row in side.rewards for reward in row]
    low, high = bounds or (min([0.0, *seen]), max([1.0, *seen]))

    def with_lost(baseline: float, candidate: float) -> Difference:
        rows = _filled(a, baseline), _filled(b, candidate)
        return paired_difference(*rows, level=level, bounds=(low, high))

    return IfLost(with_lost(high, low), with_lost(low, high))


def verdict_on(difference: Difference, lost: IfLost | None) -> Verdict:
    """What can be said of the candidate: better or worse only if that holds whatever the lost rollouts were."""
    verdict = difference.verdict
    if lost is None or verdict == "not distinguishable":
        return verdict
    decisive = lost.against if verdict == "better" else lost.in_favour
    return verdict if decisive.verdict == verdict else "not distinguishable"


def _filled(side: Side, reward: float) -> list[list[float]]:
    return [[*row, *[reward] * lost] for row, lost in zip(side.rewards, side.lost, strict=True)]
