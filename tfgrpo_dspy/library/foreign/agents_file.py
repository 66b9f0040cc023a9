"""A section in a file for coding agents (AGENTS.md, CLAUDE.md): between markers, the rest of the file stays."""

from __future__ import annotations

import re

from tfgrpo_dspy.library.file import markdown_lines
from tfgrpo_dspy.library.foreign.entries import library_of
from tfgrpo_dspy.library.foreign.lines import markdown_entries
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import PREAMBLE

NAMES = ("agents.md", "claude.md", "gemini.md", "copilot-instructions.md")
"""Files of this kind, whatever their case."""

_BEGIN = "<!-- experience-library: begin (written by tfgrpo; changes between the markers are lost) -->"
_END = "<!-- experience-library: end -->"
_SECTION = re.compile(
    r"<!-- experience-library: begin\b[^\n]*-->\n(.*?)^<!-- experience-library: end -->\n?", re.S | re.M
)


def has_section(text: str) -> bool:
    """Whether a file has a section of ours."""
    return _SECTION.search(text) is not None


def from_agents_file(text: str, name: str) -> ExperienceLibrary:
    """The library of the section; what else the file says is passed over."""
    found = _SECTION.search(text)
    return library_of(markdown_entries(found[1] if found else "", f"imported from {name}"), name, "no section of ours")


def into_agents_file(text: str, library: ExperienceLibrary) -> str:
    """The file's text with the library's section in place of the one it has, else at its end; idempotent."""
    lines = [markdown_lines(library)] if len(library) else []
    section = "\n".join([_BEGIN, "## Experiences", "", PREAMBLE, "", *lines, _END, ""])
    if has_section(text):
        return _SECTION.sub(lambda match: section, text, count=1)
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}{section}"
