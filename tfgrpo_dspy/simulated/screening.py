"""Screening a piece of advice by what the prompt shows: orders, answers, contradictions, one task's own numbers.

Whether the advice is *right* it cannot tell: it shares the policy's traps.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tfgrpo_dspy.simulated.policy import advice_in
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.updating import contradicts

_HOSTILE = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.]*\b(?:instruction|prompt|rule|above|previous)|https?://|"
    r"\b(?:reveal|send|e-?mail|upload)\b[^.]*\b(?:prompt|key|password|secret|data)|\[\[ ##|</?\w+>",
    re.IGNORECASE,
)
_EXPECTED = re.compile(r"^Expected:\s*(?:\w+:\s*)?(.+)$", re.MULTILINE)
_TASK = re.compile(r"^Task:\s*(.+)$", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|\.\d)")
_ORDINARY = frozenset("1 2 10 12 24 60 100 1000".split())
"""Numbers that advice may name without speaking of one task."""


class Objection(NamedTuple):
    """What speaks against a piece of advice."""

    name: str
    """`none` if nothing does."""
    reason: str


def screen(prompt: Prompt) -> Objection:
    """The first objection to the proposed advice."""
    proposed = prompt.inputs.get("proposed", "")
    if _HOSTILE.search(proposed):
        return Objection("hostile", "It gives an order that has nothing to do with the task.")
    numbers = set(_NUMBER.findall(proposed)) - _ORDINARY
    tasks = prompt.inputs.get("tasks", "")
    if any(answer.strip() in numbers for answer in _EXPECTED.findall(tasks)):
        return Objection("leaked answer", "It names the expected output of a task.")
    for label, text, _ in advice_in(prompt.inputs.get("others", "")):
        if contradicts(proposed, text):
            return Objection("contradiction", f"It leads to the other side of what [{label}] says.")
    if numbers & {number for task in _TASK.findall(tasks) for number in _NUMBER.findall(task)}:
        return Objection("not general", "It speaks of the numbers of one task.")
    return Objection("none", "It is general, and nothing present speaks against it.")
