"""Estimates with error bars from rewards per question; pure.

Questions are the clusters: every function first reduces a question's rollouts to one number and then treats the
questions as the sample, so that more rollouts of the same questions never pass for more evidence (Miller, arXiv
2411.00640). Coverage of both intervals is measured by `benchmarks/coverage.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, comb, fsum, isfinite, log10, sqrt
from typing import Literal

from tfgrpo_dspy.errors import DataError

Rewards = Sequence[Sequence[float]]
"""One row per question: the rewards of its scored rollouts. Rows may differ in length; lost rollouts are left out."""
Verdict = Literal["better", "worse", "not distinguishable"]

_NO_BONUS = 2.0
"""Reward from which on the scale is a longer one, and what exceeds 1 no bonus."""
_NO_SPREAD = 1e-9
"""Differences whose range is below this share of the reward range are rounding, not spread."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions with its confidence interval."""

    value: float
    low: float
    high: float
    n: int
    """Questions it rests on."""
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference over questions, `b - a`: positive when `b` is better."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided, in [0, 1]; below `1 - level` exactly when the interval leaves out 0."""
    n: int
    """Questions answered in both."""
    level: float = 0.95

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say of `b`; "not distinguishable" when it holds 0."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "not distinguishable"


def mean_at_k(rewards: Rewards, *, level: float = 0.95, bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean over questions of the mean reward of each question's rollouts, with its interval over questions.

    The interval is the Bayesian bootstrap over the question means with half a pseudo-question at each end of where
    rewards can be: Jeffreys' interval when every reward is 0 or 1, and its extension to any mean in between. It cannot
    collapse (30 of 30 right gives about [0.92, 1]) and needs no random numbers, because the posterior is summed up
    by the beta distribution of the same mean and variance. Graded rewards that reach an end nowhere, and differ, speak
    for themselves: there the pseudo-questions lie half of their range beyond the lowest and the highest.

    Args:
        rewards: One row per question; an empty row (all its rollouts were lost) is left out of `n`.
        level: Confidence level, in (0, 1).
        bounds: Lowest and highest reward that is possible. Default: [0, 1], widened to hold every reward seen.

    Returns:
        The mean with an interval that lies within the bounds and holds the mean.

    Raises:
        DataError: No question has a rollout, a reward is not finite, or one lies outside `bounds`.

    Source: "Mean@k" as reported in arXiv 2510.08191; Jeffreys' interval as recommended by Brown, Cai and DasGupta,
    "Interval Estimation for a Binomial Proportion", Statistical Science 16 (2001).
    """
    return _interval(_means(rewards), level, _reach(rewards, _range(rewards, bounds)))


def full_marks(rewards: Iterable[float]) -> float | None:
    """The reward of a right answer, by the scale on which rewards lie; None where some are negative, and nobody knows.

    1 where none reaches 2 (what is above 1 is a bonus), else the next power of ten: 30 and 85 are of 100.
    """
    found = list(rewards)
    if not all(reward >= 0 for reward in found):
        return None
    best = max(found, default=1.0)
    return 1.0 if best < _NO_BONUS else 10.0 ** ceil(log10(best))


def pass_at_k(rewards: Rewards, k: int, *, threshold: float = 1.0, level: float = 0.95) -> Estimate:
    """Chance that at least one of k rollouts of a question passes, averaged over questions, in [0, 1].

    For a question with m rollouts of which c pass, 1 - C(m - c, k) / C(m, k) is unbiased for any m >= k.

    Args:
        rewards: One row per question; rows shorter than k, for which there is no unbiased estimate, are left out
            of `n`.
        k: Rollouts that a user would be given, >= 1.
        threshold: Reward from which a rollout passes.
        level: Confidence level, in (0, 1).

    Raises:
        DataError: k is below 1, no question has k rollouts, or a reward is not finite.

    Source: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374, equation 1.
    """
    if k < 1:
        raise DataError(f"k of pass@k must be at least 1, got {k}")
    _check(rewards)
    passes = [(len(row), sum(r >= threshold for r in row)) for row in rewards if len(row) >= k]
    if not passes:
        longest = max((len(row) for row in rewards), default=0)
        raise DataError(f"pass@{k} needs a question with {k} scored rollouts, the most any has is {longest}")
    return _interval([1 - comb(m - c, k) / comb(m, k) for m, c in passes], level, (0.0, 1.0))


def paired_difference(
    a: Rewards, b: Rewards, *, level: float = 0.95, bounds: tuple[float, float] | None = None
) -> Difference:
    """Mean over questions of `b`'s mean reward minus `a`'s, with a t interval and the p-value of the same t test.

    Where all questions differ by the same amount there is no spread to estimate an error from. Then the bound of
    Clopper and Pearson stands in: n equal questions leave room for a share 1 - ((1 - level) / 2)^(1/n) of unseen
    ones, whose differences may be anything the reward range allows.

    Args:
        a: The baseline, one row per question.
        b: The other program on the same questions in the same order; k may differ. A question for which either has
            no scored rollout is left out of `n`.
        level: Confidence level, in (0, 1).
        bounds: As for `mean_at_k`.

    Raises:
        DataError: Unequal numbers of questions, none answered in both, or a reward that is not finite.

    Source: paired by question as in Miller, arXiv 2411.00640, section 4.
    """
    if len(a) != len(b):
        raise DataError(f"a paired difference needs the same questions on both sides, got {len(a)} and {len(b)}")
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x and y]
    if not pairs:
        raise DataError("no question has a scored rollout on both sides, so there is nothing to compare")
    rows_a, rows_b = [x for x, _ in pairs], [y for _, y in pairs]
    low, high = _range([*rows_a, *rows_b], bounds)
    differences = [y - x for x, y in zip(_means(rows_a), _means(rows_b), strict=True)]
    if max(differences) - min(differences) <= _NO_SPREAD * (high - low):
        return _without_spread(differences, level, high - low)
    return _student(differences, level, high - low)


def _check(rewards: Rewards, bounds: tuple[float, float] | None = None) -> None:
    for question, row in enumerate(rewards):
        for reward in row:
            if not isfinite(reward):
                raise DataError(f"question {question}: a reward must be a finite number, got {reward}")
            if bounds is not None and not bounds[0] <= reward <= bounds[1]:
                raise DataError(f"question {question}: reward {reward} lies outside the bounds {bounds}; widen them")


def _range(rewards: Rewards, bounds: tuple[float, float] | None) -> tuple[float, float]:
    _check(rewards, bounds)
    if bounds is not None and not bounds[0] < bounds[1]:
        raise DataError(f"bounds must be (lowest, highest) with lowest < highest, got {bounds}")
    seen = [float(r) for row in rewards for r in row]
    return bounds or (min([0.0, *seen]), max([1.0, *seen]))


def _reach(rewards: Rewards, bounds: tuple[float, float]) -> tuple[float, float]:
    """Where rewards can be, by those seen: up to half of their range beyond them, and never beyond the bounds."""
    seen = [float(r) for row in rewards for r in row]
    (low, high), lowest, highest = bounds, min(seen, default=0.0), max(seen, default=0.0)
    if highest - lowest <= _NO_SPREAD * (high - low):
        return bounds
    margin = (highest - lowest) / 2
    return max(low, lowest - margin), min(high, highest + margin)


def _means(rewards: Rewards) -> list[float]:
    means = [fsum(row) / len(row) for row in rewards if len(row)]
    if not means:
        raise DataError("no question has a scored rollout, so there is no mean reward; see what was lost and why")
    return means


def _interval(values: Sequence[float], level: float, bounds: tuple[float, float]) -> Estimate:
    from scipy.special import betaincinv  # importing the package must stay cheap

    tail, n, (low, high) = _tail(level), len(values), bounds
    mean = fsum(values) / n
    unit = [(v - low) / (high - low) for v in values]
    weight = n + 1  # n questions, and half a pseudo-question at each end
    centre = (fsum(unit) + 0.5) / weight
    spread = (fsum((u - centre) ** 2 for u in unit) + 0.5 * (centre**2 + (1 - centre) ** 2)) / weight
    size = centre * (1 - centre) / (spread / (weight + 1)) - 1
    ends = [low + (high - low) * float(betaincinv(centre * size, (1 - centre) * size, q)) for q in (tail, 1 - tail)]
    return Estimate(mean, min(ends[0], mean), max(ends[1], mean), n, level)


def _student(differences: Sequence[float], level: float, span: float) -> Difference:
    from scipy.special import stdtr, stdtrit  # importing the package must stay cheap

    n = len(differences)
    mean = fsum(differences) / n
    error = sqrt(fsum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    reach = float(stdtrit(n - 1, 1 - _tail(level))) * error
    p_value = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Difference(mean, max(mean - reach, -span), min(mean + reach, span), min(p_value, 1.0), n, level)


def _without_spread(differences: Sequence[float], level: float, span: float) -> Difference:
    n = len(differences)
    mean = fsum(differences) / n
    unseen = 1 - _tail(level) ** (1 / n)
    share_to_zero = abs(mean) / (abs(mean) + span)  # unseen share that would bring the mean to 0
    p_value = min(2 * (1 - share_to_zero) ** n, 1.0)
    return Difference(mean, mean - unseen * (mean + span), mean + unseen * (span - mean), p_value, n, level)


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise DataError(f"level must lie between 0 and 1, e.g. 0.95, got {level}")
    return (1 - level) / 2
