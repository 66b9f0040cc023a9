"""A text that a model wrote, without what it puts before and around it."""

from __future__ import annotations

import re
from typing import Any

from tfgrpo_dspy.library.latex import restore_latex
from tfgrpo_dspy.text import one_line

_NOTHING = frozenset({"", "none", "null", "nil", "n/a", "na", "nothing", "no", "-", "–", "—", "not applicable"})
_QUOTES = {"**": "**", "__": "__", "*": "*", '"': '"', "'": "'", "`": "`", "“": "”", "«": "»"}
"""Marks of emphasis and quotes, by what opens them."""
_BLOCK = re.compile(r"\A[|>][-+]?[ \t]*\n\s*")
"""What opens a text of several lines in YAML."""
_LEAD = re.compile(
    r"\A(?:[-*•+>#]+\s+|\d{1,2}[.)]\s+|\[G\d+\]:?\s*|G\d+[:.)]\s+"
    r"|[*_]{0,2}(?:(?:the|new|my|final|revised|updated|rewritten|shortened|general) )*"
    r"(?:lesson|experience|entry|text|revised|advice|insight)(?: \d+)?[*_]{0,2}:[*_]{0,2}\s+)",
    re.IGNORECASE,
)
"""What models put before an entry's text, as they saw it before entries, candidates and fields."""


def read_text(raw: Any) -> str:
    """A text; of a list its items on lines of their own. Quotes, emphasis and fences around all of it are taken off."""
    if raw is None:
        return ""
    if isinstance(raw, list | tuple):
        return "\n".join(read_text(item) for item in raw)
    if isinstance(raw, dict):
        return read_text(next(iter(raw.values()))) if len(raw) == 1 else "\n".join(map(read_text, raw.values()))
    text = _BLOCK.sub("", str(raw).strip())
    if text.startswith(("```", "~~~")):
        from tfgrpo_dspy.steps.reading.json_text import unfenced

        text = unfenced(text)
    elif text.endswith("```") and text.count("```") == 1:
        text = text[:-3].rstrip()  # of a fence around the whole reply
    if text.startswith(("{", "[")) and text.endswith(("}", "]")):
        from tfgrpo_dspy.steps.reading.json_text import parse_json

        value = parse_json(text).value
        said = list(value.values()) if isinstance(value, dict) else value
        if isinstance(said, list) and len(said) == 1 and isinstance(said[0], str):
            return read_text(said[0])
    return _unquoted(text)


def read_lesson(raw: Any) -> str:
    """A text as an entry holds it: on one line, without the point, the id or the name that models put before it."""
    text = one_line(restore_latex(read_text(raw)))
    while (shorter := _LEAD.sub("", text, count=1)) and shorter != text:
        text = _unquoted(shorter)
    return text


def says_nothing(text: str) -> bool:
    """Whether a text is a model's word for no text: "none", "N/A", "(none)"."""
    return text.strip().strip("()[]<>.\"'`*_ ").casefold() in _NOTHING


def _unquoted(text: str) -> str:
    for opening, closing in _QUOTES.items():
        inner = text[len(opening) : -len(closing)]
        if inner and text.startswith(opening) and text.endswith(closing) and closing not in inner:
            return _unquoted(inner.strip())
    return text
