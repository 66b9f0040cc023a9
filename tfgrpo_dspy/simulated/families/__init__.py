"""The families of problems of the demo world."""

from __future__ import annotations

from tfgrpo_dspy.simulated.families.blends import BLENDS
from tfgrpo_dspy.simulated.families.counting import COUNTING
from tfgrpo_dspy.simulated.families.model import Family, Fork, Numbers, Solution, is_neat, show
from tfgrpo_dspy.simulated.families.money import MONEY
from tfgrpo_dspy.simulated.families.rates import RATES

FAMILIES: tuple[Family, ...] = (*MONEY, *RATES, *COUNTING, *BLENDS)

__all__ = ["FAMILIES", "Family", "Fork", "Numbers", "Solution", "is_neat", "show"]
