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
    r"^[ \t]*<!-- experience-library: begin\b[^\n]*?-->[ \t]*\r?\n"
    r"((?:(?!<!-- experience-library: begin\b).)*?)"
    r"^[ \t]*<!-- experience-library: end -->[ \t]*(?:\r?\n|\Z)",
    re.S | re.M,
)
"""Without a beginning inside: one that nothing ends is the user's text."""
_FENCED = re.compile(r"^[ ]{0,3}(```+|~~~+)[^\n]*\n.*?^[ ]{0,3}\1[^\n]*$", re.S | re.M)


def _sections(text: str) -> list[re.Match[str]]:
    """The sections of ours; one that a code block shows is none."""
    shown = _FENCED.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    return list(_SECTION.finditer(shown))


def has_section(text: str) -> bool:
    """Whether a file has a section of ours."""
    return "experience-library" in text and bool(_sections(text))


def from_agents_file(text: str, name: str) -> ExperienceLibrary:
    """The library of the first section; what else the file says is passed over."""
    found = _sections(text)
    section = found[0][1] if found else ""
    return library_of(markdown_entries(section, f"imported from {name}"), name, "no section of ours")


def into_agents_file(text: str, library: ExperienceLibrary) -> str:
    """The file's text with the library's section in place of those it has, else at its end; idempotent."""
    lines = [markdown_lines(library)] if len(library) else []
    section = "\n".join([_BEGIN, "## Experiences", "", PREAMBLE, "", *lines, _END, ""])
    line_end = "\r\n" if "\r\n" in text else "\n"
    section = section.replace("\n", line_end)
    if found := _sections(text):
        first, end = found[0], found[0].end()
        rest = text[end:]
        for again in reversed(found[1:]):
            rest = rest[: again.start() - end] + rest[again.end() - end :]
        return f"{text[: first.start()]}{section}{rest}"
    gap = "" if not text else line_end if text.endswith("\n") else line_end * 2
    return f"{text}{gap}{section}"
