"""Working back from an expected answer: the way that leads to it, where every attempt shown went wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from tfgrpo_dspy.simulated.attempts import Shown
from tfgrpo_dspy.simulated.policy import explained
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.world import answers_match, recognise

INSIGHT = 0.6
"""Chance that the way is found; the other times the comparison ends without it."""

_ASKED = re.compile(r"work(?:ing)? back(?:wards?)? from the expected", re.IGNORECASE)


def found_way(prompt: Prompt, attempts: Sequence[Shown], rng: random.Random) -> Shown | None:
    """The way to the expected answer, as an attempt that earned 1; None if it is not asked for, or not found."""
    expected = prompt.inputs.get("expected", "")
    if not expected or not _ASKED.search(prompt.instructions) or not all(shown.is_poor for shown in attempts):
        return None
    found = recognise(prompt.inputs.get("task", ""))
    if found is None or rng.random() >= INSIGHT:
        return None
    made = explained(*found, prompt.inputs["task"])
    return Shown.of(made.reasoning, 1.0) if answers_match(expected, made.answer) else None
