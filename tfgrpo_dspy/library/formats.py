"""Libraries from elsewhere: what others released, and what people wrote by hand.

Every imported experience has the author "import" and a reason that names its origin. Texts enter on one line and
made safe, as every text that reaches a prompt. The limits of a run (words, entries) are not applied here: a run
enforces them on what its updates add.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.experience import Experience, Provenance, id_number
from tfgrpo_dspy.library.file import (
    HEADING,
    dump_library,
    parse_library,
    read_utf8,
    to_markdown,
    to_text,
    unescape_markdown,
    write_atomically,
)
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.names.plugins import load_plugin, plugins
from tfgrpo_dspy.text import one_line

KNOWN = (
    "our JSON (.json), our Markdown (.md), plain text with one experience per line (.txt), "
    "an ACE playbook (.txt, .md) and a youtu-agent configuration (.yaml)"
)
"""The formats `read_library` knows, for messages."""

_ACE_BULLET = re.compile(r"\[([a-z][a-z_]*-\d+)\](?:\s+helpful=(\d+)\s+harmful=(\d+)(?:\s+\w+=\d+)*\s*::)?\s*(.*)")
_ACE_SECTION = re.compile(r"##\s+(.+?):?\s*")
_AGENT_LINE = re.compile(r"\s*\[(G\d+)\]\.?(?:\s+(.*))?")
_MARKDOWN_LINE = re.compile(r"- \*\*(G\d+)\*\* (.*)")
_PLAIN_LINE = re.compile(r"\s*(?:[-*+•](?:\s+|$))?(?:\[(G\d+)\]\.?\s*)?(.*)")


class _Entry(NamedTuple):
    """One experience as found: its line (from 1), its id if it has one, its text and where it comes from."""

    line: int
    id: str | None
    text: str
    reason: str


def read_library(path: str | os.PathLike[str]) -> ExperienceLibrary:
    """Read a library in any known format, told apart by content and suffix.

    - our JSON: everything is kept, provenance included;
    - our Markdown, and a youtu-agent configuration (`[G0]. Name: text` lines in `agent.instructions`): ids are kept,
      new ones start after the largest;
    - an ACE playbook (`[shr-00001] text`, with or without counters): new ids in file order; section, old id and
      counters go to `provenance.reason`;
    - plain text: one experience per line; bullets are stripped, `[G7]` prefixes become ids, lines without one get
      ids after the largest.

    A suffix of none of these is read by what another distribution brings for it (docs/extending.md).

    Raises:
        LibraryFormatError: The format is not known, or the file is damaged or holds no experience.
        OSError: The file cannot be read.
    """
    name, text = Path(path).name, read_utf8(path)
    return _reader(Path(path).suffix.lower(), text, name)(text, name)


def write_library(library: ExperienceLibrary, path: str | os.PathLike[str]) -> None:
    """Write a library as JSON (.json), Markdown (.md) or plain text (.txt), by the path's suffix.

    Other suffixes are written by what another distribution brings for them. Only JSON keeps provenance, scopes, pins
    and the ids that were deleted.

    Raises:
        LibraryFormatError: Another suffix.
        OSError: The file cannot be written.
    """
    writers = {".json": dump_library, ".md": to_markdown, ".txt": to_text}
    suffix = Path(path).suffix.lower()
    writer = writers.get(suffix) or _brought(suffix, "write")
    if writer is None:
        raise LibraryFormatError(f"{Path(path).name}: libraries are written as .json, .md or .txt; choose one of these")
    write_atomically(writer(library), path)


_Reader = Callable[[str, str], ExperienceLibrary]


def _reader(suffix: str, text: str, name: str) -> _Reader:
    if suffix == ".json" or (suffix in {".txt", ".md", ""} and text.lstrip().startswith("{")):
        return _from_json
    if suffix in {".yaml", ".yml"}:
        return _from_agent
    if suffix in {".txt", ".md", ""} and any(_ACE_BULLET.fullmatch(line.strip()) for line in text.splitlines()):
        return _from_playbook
    by_suffix: dict[str, _Reader] = {".md": _from_markdown, ".txt": _from_lines, "": _from_lines}
    if (brought := _brought(suffix, "read")) is not None and suffix not in by_suffix:
        return brought
    if suffix not in by_suffix:
        raise LibraryFormatError(f"{name}: {suffix} is no known library format; known are {KNOWN}")
    return _from_markdown if text.startswith(HEADING) else by_suffix[suffix]


def _brought(suffix: str, action: str) -> Callable[..., Any] | None:
    """How another distribution reads or writes files of a suffix: its entry point is named like it, without the dot."""
    name = suffix.removeprefix(".")
    return getattr(load_plugin("formats", name), action, None) if name in plugins("formats") else None


def _from_json(text: str, name: str) -> ExperienceLibrary:
    return parse_library(text, source=name)


def _from_agent(text: str, name: str) -> ExperienceLibrary:
    """The entries of an agent's instructions; what follows one up to the next belongs to it."""
    reason, entries = f"imported from the agent configuration {name}", list[_Entry]()
    for number, line in enumerate(_instructions(text, name).splitlines(), start=1):
        if match := _AGENT_LINE.fullmatch(line):
            entries.append(_Entry(number, match[1], match[2] or "", reason))
        elif entries and line.strip():
            entries[-1] = entries[-1]._replace(text=f"{entries[-1].text} {line.strip()}")
    return _library(entries, f"{name}: agent.instructions", "no `[G0]. Name: text` line")


def _instructions(text: str, name: str) -> str:
    import yaml  # only this format needs it

    try:
        document: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise LibraryFormatError(f"{name}: no valid YAML{where}; known formats are {KNOWN}") from error
    agent = document.get("agent") if isinstance(document, dict) else None
    instructions = agent.get("instructions") if isinstance(agent, dict) else None
    if not isinstance(instructions, str):
        raise LibraryFormatError(f"{name}: agent.instructions must be a text with `[G0]. Name: text` lines")
    return instructions


def _from_playbook(text: str, name: str) -> ExperienceLibrary:
    section, entries = "", list[_Entry]()
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if heading := _ACE_SECTION.fullmatch(line):
            section = heading[1]
        elif bullet := _ACE_BULLET.fullmatch(line):
            entries.append(_Entry(number, None, bullet[4], _ace_origin(section, bullet)))
        elif line and entries:  # a bullet that runs over several lines
            entries[-1] = entries[-1]._replace(text=f"{entries[-1].text} {line}")
    return _library(entries, name, "no `[shr-00001] text` line")


def _ace_origin(section: str, bullet: re.Match[str]) -> str:
    parts = ["imported from ACE playbook"]
    parts += [f"section {section}"] if section else []
    parts += [bullet[1]]
    parts += [f"helpful {bullet[2]}", f"harmful {bullet[3]}"] if bullet[2] is not None else []
    return ", ".join(parts)


def _from_markdown(text: str, name: str) -> ExperienceLibrary:
    found = ((number, _MARKDOWN_LINE.fullmatch(line)) for number, line in enumerate(text.split("\n"), start=1))
    reason = f"imported from {name}"
    entries = [_Entry(number, match[1], unescape_markdown(match[2]), reason) for number, match in found if match]
    if not entries and text.startswith(f"{HEADING}\n\n0 experiences"):
        return ExperienceLibrary()
    return _library(entries, name, "no `- **G0** text` line")


def _from_lines(text: str, name: str) -> ExperienceLibrary:
    found = ((number, _PLAIN_LINE.fullmatch(line)) for number, line in enumerate(text.splitlines(), start=1))
    reason = f"imported from {name}"
    entries = [_Entry(number, match[1], match[2], reason) for number, match in found if match and match[0].strip()]
    return _library(entries, name, "no line with text")


def _library(entries: Iterable[_Entry], name: str, nothing: str) -> ExperienceLibrary:
    found = list(entries)
    if not found:
        raise LibraryFormatError(f"{name}: {nothing}, so no experience was found; known formats are {KNOWN}")
    given: dict[int, int] = {}
    for entry in found:
        if not one_line(entry.text):
            raise LibraryFormatError(f"{name}, line {entry.line}: an experience without text; write one or take it out")
        if entry.id is not None:
            _take_id(given, entry, name)
    next_id = max(given, default=-1) + 1
    experiences = []
    for entry in found:
        id, next_id = (entry.id, next_id) if entry.id is not None else (f"G{next_id}", next_id + 1)
        provenance = Provenance(author="import", reason=one_line(entry.reason))
        experiences.append(Experience(id, one_line(entry.text), provenance=provenance))
    return ExperienceLibrary(tuple(experiences), next_id=next_id)


def _take_id(given: dict[int, int], entry: _Entry, name: str) -> None:
    try:
        number = id_number(entry.id or "")
    except ValueError as error:
        raise LibraryFormatError(f"{name}, line {entry.line}: {error}") from error
    if number in given:
        raise LibraryFormatError(
            f"{name}, line {entry.line}: {entry.id} is also the id of line {given[number]}; ids are unique"
        )
    given[number] = entry.line
