"""The families of tasks: those of the demo world, and those that want an agent with tools."""

from __future__ import annotations

from tfgrpo_dspy.simulated.families.blends import BLENDS
from tfgrpo_dspy.simulated.families.browsing import BROWSING, BrowseFamily
from tfgrpo_dspy.simulated.families.coding import CODING, CodeFamily
from tfgrpo_dspy.simulated.families.counting import COUNTING
from tfgrpo_dspy.simulated.families.model import Family, Fork, Numbers, Solution, is_neat, show
from tfgrpo_dspy.simulated.families.money import MONEY
from tfgrpo_dspy.simulated.families.rates import RATES

FAMILIES: tuple[Family, ...] = (*MONEY, *RATES, *COUNTING, *BLENDS)
"""Of the demo world: solved by reasoning alone."""

ALL_FAMILIES: tuple[Family, ...] = (*FAMILIES, *CODING, *BROWSING)

__all__ = [
    "ALL_FAMILIES",
    "BROWSING",
    "CODING",
    "FAMILIES",
    "BrowseFamily",
    "CodeFamily",
    "Family",
    "Fork",
    "Numbers",
    "Solution",
    "is_neat",
    "show",
]
