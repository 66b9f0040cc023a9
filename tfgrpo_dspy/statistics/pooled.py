"""Several estimates of one kind, seen together: their mean, how much they truly differ, and each one shrunken; pure.

What is seen of many effects is spread more widely than the effects are: noise adds to the spread, and the largest one
seen is too large. A shrunken estimate moves each towards the mean of all, the more the noisier it is. It is right on
average over the effects, not for a strong one, so it stands beside the plain estimate and never in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple


class Pooled(NamedTuple):
    """What a number of effects have in common."""

    mean: float
    error: float
    """Standard error of the mean."""
    between: float
    """Variance between the effects themselves, >= 0: that of the estimates, less what their errors explain."""

    def shrunken(self, value: float, error: float) -> float:
        """One of the effects, given all of them."""
        total = self.between + error**2
        return self.mean if total == 0 else self.mean + (value - self.mean) * self.between / total


def pooled(values: Sequence[float], errors: Sequence[float]) -> Pooled:
    """Pool estimates with their standard errors, > 0, as effects drawn from one population.

    Source: DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7 (1986).
    """
    weights = [error**-2 for error in errors]
    fixed = _mean(values, weights)
    excess = fsum(w * (v - fixed) ** 2 for v, w in zip(values, weights, strict=True)) - (len(values) - 1)
    scale = fsum(weights) - fsum(w**2 for w in weights) / fsum(weights)
    between = max(excess / scale, 0.0) if len(values) > 1 else 0.0
    weights = [1 / (between + error**2) for error in errors]
    return Pooled(_mean(values, weights), fsum(weights) ** -0.5, between)


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return fsum(w * v for v, w in zip(values, weights, strict=True)) / fsum(weights)
