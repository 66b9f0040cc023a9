"""What every foreign form comes to: entries as they were found, and the library that they make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.experience import Experience, Provenance, id_number
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.text import one_line

KNOWN = (
    "our JSON (.json), our Markdown (.md), plain text with one experience per line (.txt), an ACE playbook (.txt, .md, "
    ".json), a youtu-agent configuration (.yaml), an Agent Skill (a folder with SKILL.md), and the section that is "
    "written into AGENTS.md or CLAUDE.md"
)
"""The formats that are known, for messages."""


class Entry(NamedTuple):
    """One experience as found: its line (from 1), its id if it has one, its text and where it comes from."""

    line: int
    id: str | None
    text: str
    reason: str
    scope: str | None = None
    """The only predictor that is to read it."""


def library_of(entries: Iterable[Entry], name: str, nothing: str) -> ExperienceLibrary:
    """The library of the entries of a file; those without an id get ids after the largest.

    Args:
        entries: In order.
        name: Of the file, for messages.
        nothing: What was not found, if there is no entry.

    Raises:
        LibraryFormatError: There is no entry, one has no text, or an id is none or stands twice.
    """
    found = list(entries)
    if not found:
        raise LibraryFormatError(f"{name}: {nothing}, so no experience was found; known formats are {KNOWN}")
    given: dict[int, int] = {}
    for entry in found:
        if not one_line(entry.text):
            raise LibraryFormatError(f"{name}, line {entry.line}: an experience without text; write one or take it out")
        if entry.id is not None:
            try:
                number = id_number(entry.id)
            except ValueError as error:
                raise LibraryFormatError(f"{name}, line {entry.line}: {error}") from error
            if number in given:
                raise LibraryFormatError(
                    f"{name}, line {entry.line}: {entry.id} is also the id of line {given[number]}; ids are unique"
                )
            given[number] = entry.line
    next_id = max(given, default=-1) + 1
    experiences = []
    for entry in found:
        id, next_id = (entry.id, next_id) if entry.id is not None else (f"G{next_id}", next_id + 1)
        provenance = Provenance(author="import", reason=one_line(entry.reason))
        experiences.append(Experience(id, one_line(entry.text), scope=entry.scope, provenance=provenance))
    return ExperienceLibrary(tuple(experiences), next_id=next_id)
