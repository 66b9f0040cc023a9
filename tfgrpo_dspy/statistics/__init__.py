"""Estimates with their error bars, and evidence that may be looked at while it grows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.statistics.estimates import Difference, Estimate, Rewards, mean_at_k, paired_difference, pass_at_k

__all__ = [
    "Difference",
    "Estimate",
    "Rewards",
    "mean_at_k",
    "paired_difference",
    "pass_at_k",
]

__getattr__, __dir__ = lazily(__name__)
