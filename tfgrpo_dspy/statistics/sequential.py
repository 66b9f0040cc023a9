"""Evidence that may be looked at as often as one likes: a bet against a claim about the mean of differences; pure.

Against the claim "the mean is at most 0" a gambler stakes a fixed share of what they have on each difference. If the
claim is true, the game is unfavourable: whatever is won, the chance of ever multiplying the stake by 1/alpha is at most
alpha (Ville's inequality), for any distribution within the bounds and any rule of when to stop. So early looks cost
nothing of the error rate, and few questions are no excuse for a normal approximation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log1p

from tfgrpo_dspy.errors import DataError

STAKES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
"""Shares staked, one gambler each; what counts is their mean, which is unfavourable as well. Small ones find small
differences in many questions, large ones great differences in few (ours)."""


def evidence_above(differences: Sequence[float], level: float = 0.0, *, span: float = 1.0) -> float:
    """How many times what was staked against "the mean is at most `level`" has been multiplied, >= 0.

    Args:
        differences: One per question, in the order in which they came in; the next must not depend on a look ahead.
        level: The claim.
        span: Largest difference that is possible, > 0: the width of the reward range.

    Returns:
        At or above 1/alpha the claim is refuted with an error rate of alpha, however often it was looked at.

    Raises:
        DataError: A difference exceeds the span.

    Source: capital processes as in Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
    Journal of the Royal Statistical Society B 86 (2024).
    """
    if any(abs(d) > span * (1 + 1e-9) for d in differences):
        raise DataError(f"a difference of {max(differences, key=abs):g} exceeds the span of {span:g}; widen the bounds")
    most = span + abs(level)  # the most that can be lost on one difference
    return sum(exp(sum(log1p(s * (d - level) / most) for d in differences)) for s in STAKES) / len(STAKES)
