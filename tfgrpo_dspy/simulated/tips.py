"""Writing tips straight away, from task descriptions alone: plausible, mostly beside the point, sometimes wrong."""

from __future__ import annotations

import random

from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.reflection import max_experiences

TIPS = (
    "Read the question twice and answer exactly what is asked.",
    "When quantities have different units, convert them all to the same unit first.",
    "When things cannot be split, round up to the next whole number.",
    "When counting from a first to a last number, include both ends.",
    "When two percentage changes follow each other, combine them into one net change.",
    "When the averages of two groups are combined, take the mean of the averages.",
    "Write down the given numbers before calculating.",
    "When the result is known, compare it with a rough estimate.",
    "Show every calculation on a line of its own.",
    "When a number carries a unit, keep the unit beside it.",
    "Give the final answer as a plain number.",
    "When many quantities occur, put them into a small table.",
    "Double-check each multiplication.",
    "Use a known formula wherever there is one.",
    "Name the unknown and set up an equation for it.",
)
"""What comes to mind without having seen an attempt: four address a trap, two lead into one, the rest do neither."""

USUAL = 4
"""Tips written when the prompt states no number."""


def write_tips(prompt: Prompt, rng: random.Random) -> list[str]:
    """Some of the tips, as many as the prompt asks for."""
    return rng.sample(TIPS, min(max_experiences(prompt, USUAL), len(TIPS)))
