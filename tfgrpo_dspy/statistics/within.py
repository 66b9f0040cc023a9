"""Effects measured inside groups: rollouts of one question that had something, against those that had not; pure.

A question is its own control: what makes it hard is on both sides, and which rollouts have the thing is drawn by
chance. Of a group with rewards r and haves z in {0, 1}, both centred in the group, S = sum(z r) and Q = sum(z z); the
effect is sum(w S) / sum(w Q) over groups. As a ratio of sums it stays right where a group ends as soon as its rewards
differ, as long as it can end only when as many rollouts had the thing as had it not (Wald's identity); a mean of group
differences would not. Coverage is measured by `benchmarks/coverage.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import NamedTuple

MANY = 10
"""Questions from which they are taken for a sample of all such questions; fewer are spoken of themselves."""
_PSEUDO = 1.0
"""Pseudo-rollout, half at each end of the rewards seen, without which a few equal rewards would look certain."""
_FEWEST = 3.0
"""Degrees of freedom as of which an error is taken for not more than three times as uncertain as its variance says."""


class Split(NamedTuple):
    """The scored rollouts of one group, told apart by whether each had what is measured."""

    question: str
    rewards: Sequence[float]
    has: Sequence[bool]
    weight: float = 1.0
    """How much the group counts, >= 0."""


@dataclass(frozen=True, slots=True)
class Within:
    """A mean difference inside groups: rollouts that had something, minus those that had not."""

    value: float
    low: float
    high: float
    error: float
    """Standard error, taking the questions as they are: what other rollouts of them could have brought."""
    freedom: float
    """Degrees of freedom of that error."""
    questions: int
    """Questions that tell anything: some of their rollouts had it and some had not."""
    n_with: int
    n_without: int
    level: float = 0.95

    def log_odds(self, size: float) -> float:
        """How much better an effect of that size explains what was found than no effect does: log likelihood ratio.

        It may be looked at as often as one likes: in favour of the wrong one it reaches log(c) with a chance of at most
        1/c (Ville's inequality; Wald, "Sequential Tests of Statistical Hypotheses", 1945), as far as the estimate is
        about normal. The error is estimated; its variance counts for as much more as Student's distribution of so many
        degrees of freedom has than the normal one, three times at most.
        """
        freedom = max(self.freedom, _FEWEST)
        variance = self.error**2 * freedom / (freedom - 2)
        return size * (self.value - size / 2) / variance


def within_groups(splits: Sequence[Split], *, level: float = 0.95, span: float | None = None) -> Within | None:
    """The mean difference inside groups with its interval; None if no group has both sides.

    From `MANY` questions on, the interval is for such questions in general: the questions are the sample, as everywhere
    in this package. Of fewer it is for these questions alone, from the spread of rewards inside groups.

    Args:
        splits: Groups; a question may have several. Those without both sides are left out.
        level: Confidence level, in (0, 1).
        span: Width of the rewards that can be; None takes that of the rewards seen, or 1 if they are all equal.
    """
    rows = [_Row.of(split) for split in splits if split.weight > 0 and len(set(split.has)) > 1]
    if not rows:
        return None
    information = fsum(row.weight * row.information for row in rows)
    value = fsum(row.weight * row.score for row in rows) / information
    width = span if span is not None else _width(rows)
    freedom = max(fsum(row.weight * (row.size - 1) for row in rows) - 1, 0) + _PSEUDO
    variance = (fsum(row.weight * row.residual(value) for row in rows) + _PSEUDO * (width / 2) ** 2) / freedom
    error = sqrt(variance * fsum(row.weight**2 * row.information for row in rows)) / information
    reach = _reach_of_questions(rows, value, information, level) or _quantile(freedom, level) * error
    n_with = sum(row.n_with for row in rows)
    questions = len({row.question for row in rows})
    n_without = sum(row.size for row in rows) - n_with
    low, high = max(value - reach, -width), min(value + reach, width)
    return Within(value, low, high, error, freedom, questions, n_with, n_without, level)


class _Row(NamedTuple):
    """What one group says."""

    question: str
    weight: float
    size: int
    n_with: int
    score: float
    """S."""
    information: float
    """Q."""
    spread: float
    """Sum of the squared centred rewards."""
    lowest: float
    highest: float

    @classmethod
    def of(cls, split: Split) -> _Row:
        size, n_with = len(split.rewards), sum(split.has)
        mean, share = fsum(split.rewards) / size, n_with / size
        score = fsum((has - share) * (reward - mean) for has, reward in zip(split.has, split.rewards, strict=True))
        spread = fsum((reward - mean) ** 2 for reward in split.rewards)
        ends = min(split.rewards), max(split.rewards)
        return cls(split.question, split.weight, size, n_with, score, n_with * (1 - share), spread, *ends)

    def residual(self, effect: float) -> float:
        """Sum of the squared rewards around the group's mean and the effect."""
        return max(self.spread - 2 * effect * self.score + effect**2 * self.information, 0.0)


def _width(rows: Sequence[_Row]) -> float:
    return max(row.highest for row in rows) - min(row.lowest for row in rows) or 1.0


def _reach_of_questions(rows: Sequence[_Row], value: float, information: float, level: float) -> float:
    """Half the width of the interval over questions as a sample; 0 if they are too few for that."""
    scores: dict[str, float] = {}
    weights: dict[str, float] = {}
    for row in rows:
        scores[row.question] = scores.get(row.question, 0.0) + row.weight * (row.score - value * row.information)
        weights[row.question] = weights.get(row.question, 0.0) + row.weight * row.information
    count = information**2 / fsum(w**2 for w in weights.values())  # how many they are worth, their weights differing
    if count < MANY - 1e-9:
        return 0.0
    variance = fsum(s**2 for s in scores.values()) * count / (count - 1) / information**2
    return _quantile(count - 1, level) * sqrt(variance)


def _quantile(freedom: float, level: float) -> float:
    from scipy.special import stdtrit  # importing the package must stay cheap

    return float(stdtrit(freedom, 1 - (1 - level) / 2))
