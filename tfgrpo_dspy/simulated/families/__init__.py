"""The families of tasks: those of the demo world, and those that want an agent with tools."""

from __future__ import annotations

from tfgrpo_dspy.simulated.families.blends import BLENDS
from tfgrpo_dspy.simulated.families.browsing import BROWSING as BROWSING
from tfgrpo_dspy.simulated.families.browsing import BrowseFamily as BrowseFamily
from tfgrpo_dspy.simulated.families.coding import CODING as CODING
from tfgrpo_dspy.simulated.families.coding import CodeFamily as CodeFamily
from tfgrpo_dspy.simulated.families.counting import COUNTING
from tfgrpo_dspy.simulated.families.model import Family as Family
from tfgrpo_dspy.simulated.families.model import Fork as Fork
from tfgrpo_dspy.simulated.families.model import Numbers as Numbers
from tfgrpo_dspy.simulated.families.model import Solution as Solution
from tfgrpo_dspy.simulated.families.model import is_neat as is_neat
from tfgrpo_dspy.simulated.families.model import show as show
from tfgrpo_dspy.simulated.families.money import MONEY
from tfgrpo_dspy.simulated.families.rates import RATES

FAMILIES: tuple[Family, ...] = (*MONEY, *RATES, *COUNTING, *BLENDS)
"""Of the demo world: solved by reasoning alone."""

ALL_FAMILIES: tuple[Family, ...] = (*FAMILIES, *CODING, *BROWSING)
