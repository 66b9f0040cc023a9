"""Our Markdown, and plain text with one experience per line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfgrpo_dspy.library.file import HEADING, unescape_markdown
from tfgrpo_dspy.library.foreign.entries import Entry, library_of
from tfgrpo_dspy.library.library import ExperienceLibrary

_MARKDOWN_LINE = re.compile(r"- \*\*(G\d+)\*\* (.*)")
_PLAIN_LINE = re.compile(r"\s*(?:(?:[-*+•]|\d+[.)])(?:\s+|$))?(?:\[(G\d+)\]\.?\s*)?(.*)")


def from_markdown(text: str, name: str) -> ExperienceLibrary:
    """The library of `- **G7** text` lines; others are passed over."""
    entries = list(markdown_entries(text, f"imported from {name}"))
    if not entries and text.startswith(f"{HEADING}\n\n0 experiences"):
        return ExperienceLibrary()
    return library_of(entries, name, "no `- **G0** text` line")


def markdown_entries(text: str, reason: str, scope: str | None = None) -> Iterator[Entry]:
    """The entries of `- **G7** text` lines."""
    for number, line in enumerate(text.split("\n"), start=1):
        if match := _MARKDOWN_LINE.fullmatch(line):
            yield Entry(number, match[1], unescape_markdown(match[2]), reason, scope)


def from_lines(text: str, name: str) -> ExperienceLibrary:
    """The library of a text with one experience per line; bullets are stripped, `[G7]` prefixes become ids."""
    found = ((number, _PLAIN_LINE.fullmatch(line)) for number, line in enumerate(text.splitlines(), start=1))
    reason = f"imported from {name}"
    entries = [Entry(number, match[1], match[2], reason) for number, match in found if match and match[0].strip()]
    return library_of(entries, name, "no line with text")
