"""What a sentence means to the embedded LM: which ideas it expresses, and whether it recommends or forbids them.

Meaning is read from words alone: stems joined by "and" and "or", a leading condition ("When ...,"), and what follows
a negation. No id and no exact sentence plays a role.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

Idea = tuple[tuple[str, ...], ...]
"""Alternatives; one holds when every stem pattern of it begins some word of the text, e.g. `(("add", "one|1"),)`."""


@lru_cache(maxsize=4096)
def _stem(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{pattern})", re.IGNORECASE)


def expresses(text: str, idea: Idea) -> bool:
    """Whether the text holds all stems of one of the idea's alternatives."""
    return any(all(_stem(pattern).search(text) for pattern in alternative) for alternative in idea)


class Sentence(NamedTuple):
    """A piece of advice taken apart."""

    condition: str
    """What follows "When", "If", "For" up to the comma; empty when there is no condition."""
    wanted: str
    """What it says to do."""
    unwanted: str
    """What it says not to do; empty when it forbids nothing."""


_LABEL = re.compile(r"^\s*(?:\[\w+\]|[-*•]|\d+[.)])\s+")
_CONDITION = re.compile(
    r"^(?:(?:when(?:ever)?|if|for|in (?:any|a|every)|with|where|once)\b)\s*(.+?),\s+"
    r"(?!then\s+(?:falls|drops|rises|goes)|and\b|or\b|which\b|with\b)(.+)$",
    re.IGNORECASE | re.DOTALL,
)
_TRAILING = re.compile(r"^(.+?),?\s+(?:when(?:ever)?|if|where)\s+(.+)$", re.IGNORECASE | re.DOTALL)
_REMINDER = re.compile(
    r"\b(?:do\s+not|don't|never|not\s+to)\s+(?:forget|neglect|omit|fail|skip|miss)\b(?:\s+to\b)?", re.IGNORECASE
)
_NEGATION = re.compile(
    r"\b(?:do\s+not|don't|must\s+not|should\s+not|never|not|avoid|instead\s+of|rather\s+than|without|beware\s+of)\b"
    r"([^.;,]*(?:,\s*(?:nor|or)\b[^.;,]*)*)",
    re.IGNORECASE,
)


@lru_cache(maxsize=16384)
def take_apart(text: str) -> Sentence:
    """The condition of a piece of advice, what it recommends and what it forbids."""
    text = _REMINDER.sub("remember to", _LABEL.sub("", " ".join(text.split())))
    condition, rest = "", text
    if match := _CONDITION.match(text):
        condition, rest = match[1], match[2]
    elif match := _TRAILING.match(text):
        rest, condition = match[1], match[2]
    unwanted = " ; ".join(found[1].strip() for found in _NEGATION.finditer(rest))
    return Sentence(condition, _NEGATION.sub(" ; ", rest).strip(), unwanted)


_GENERAL: Idea = (
    ("solv|answer|calculat|comput|work(?:ing)? (?:out|on|through)|reason",),
    ("any|every|all|each|a|the|such|this|multi", "problem|task|question|exercise|puzzle"),
    ("in doubt|unsure|finished|done|stuck",),
)


def is_general(condition: str) -> bool:
    """Whether a condition singles out no kind of task: "solving a problem", "in doubt", or none at all."""
    return not condition or expresses(condition, _GENERAL)


_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?")
_FILLER = frozenset(
    "a an the of to and or in on at by for from is are be it its as that this with when if do does not then than so "
    "one you your each any all into".split()
)


@lru_cache(maxsize=16384)
def key_words(text: str) -> frozenset[str]:
    """The words of a text that carry meaning, lower case."""
    return frozenset(_WORD.findall(text.lower())) - _FILLER


def likeness(a: str, b: str) -> float:
    """Share of the meaningful words that two texts have in common, in [0, 1]."""
    left, right = key_words(a), key_words(b)
    return len(left & right) / len(left | right) if left or right else 1.0
