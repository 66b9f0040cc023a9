"""Estimates with error bars from rewards per question; pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions with its confidence interval."""

    value: float
    low: float
    high: float
    n: int
    """Questions it rests on."""
    level: float = 0.95
