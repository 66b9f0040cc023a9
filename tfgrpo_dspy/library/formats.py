"""Reads and writes libraries in every known format, told apart by content, by the path and by name.

Every imported experience has the author "import" and a reason that names its origin. Texts enter on one line and
made safe, as every text that reaches a prompt. The limits of a run (words, entries) are not applied here: a run
enforces them on what its updates add.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.file import (
    HEADING,
    dump_library,
    parse_library,
    read_utf8,
    to_markdown,
    to_text,
    write_atomically,
)
from tfgrpo_dspy.library.foreign.agent_config import from_agent, to_agent
from tfgrpo_dspy.library.foreign.agents_file import NAMES, from_agents_file, has_section, into_agents_file
from tfgrpo_dspy.library.foreign.entries import KNOWN
from tfgrpo_dspy.library.foreign.lines import from_lines, from_markdown
from tfgrpo_dspy.library.foreign.playbook import (
    from_playbook,
    from_playbook_json,
    is_playbook,
    is_playbook_json,
    to_playbook,
    to_playbook_json,
)
from tfgrpo_dspy.library.foreign.skill import SKILL, from_skill, to_skill
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.names.plugins import load_plugin, plugins

Format = Literal["json", "markdown", "text", "skill", "agents", "ace", "ace-json", "youtu"]
"""Names of the formats that are written."""

_BY_SUFFIX: dict[str, Format] = {
    ".json": "json",
    ".md": "markdown",
    ".txt": "text",
    ".yaml": "youtu",
    ".yml": "youtu",
    "": "skill",
}
_WRITERS: dict[str, Callable[[ExperienceLibrary], str]] = {
    "json": dump_library,
    "markdown": to_markdown,
    "text": to_text,
    "ace": to_playbook,
    "ace-json": to_playbook_json,
    "youtu": to_agent,
}
_TEXTS = {".txt", ".md", ""}


def read_library(path: str | os.PathLike[str]) -> ExperienceLibrary:
    """Read a library in any known format, told apart by content and path.

    - our JSON: everything is kept, provenance included;
    - our Markdown, the section in a file for coding agents (AGENTS.md, CLAUDE.md), an Agent Skill (its folder, or its
      SKILL.md), and a youtu-agent configuration (`[G0]. Name: text` entries in `agent.instructions`, also over several
      lines): ids are kept, new ones start after the largest;
    - an ACE playbook (`[shr-00001] text`, with or without counters), or the JSON of a playbook or skillbook: new ids in
      file order, but for those that `write_library` gave; section, old id and counters go to `provenance.reason`;
    - plain text: one experience per line; bullets are stripped, `[G7]` prefixes become ids, lines without one get
      ids after the largest.

    A suffix of none of these is read by what another distribution brings for it (docs/extending.md).

    Raises:
        LibraryFormatError: The format is not known, or the file is damaged or holds no experience.
        OSError: The file cannot be read.
    """
    where = Path(path)
    if where.is_dir() or where.name == SKILL:
        return from_skill(where if where.is_dir() else where.parent)
    name, text = where.name, read_utf8(path)
    return _reader(where.suffix.lower(), text, name)(text, name)


def write_library(library: ExperienceLibrary, path: str | os.PathLike[str], format: Format | None = None) -> None:
    """Write a library in the format of that name, or that the path tells.

    `json` (.json), `markdown` (.md), `text` (.txt), `youtu` (.yaml, a youtu-agent configuration), `skill` (a folder, or
    a file SKILL.md: an Agent Skill, general experiences in front, scoped ones in references), `agents` (AGENTS.md,
    CLAUDE.md and the like: a section between markers, which is all of the file that changes), `ace` and `ace-json` (an
    ACE playbook). Other suffixes are written by what another distribution brings for them. Only JSON keeps
    provenance, pins and the ids that were deleted; scopes are kept by `skill`, `ace` and `ace-json` too.

    Raises:
        LibraryFormatError: Another name or suffix.
        OSError: The file cannot be written.
    """
    where = Path(path)
    chosen = format or _format_of(where)
    if chosen == "skill":
        to_skill(library, where.parent if where.name == SKILL else where)
    elif chosen == "agents":
        write_atomically(into_agents_file(read_utf8(where) if where.is_file() else "", library), where)
    elif chosen is not None and chosen not in _WRITERS:
        known = ", ".join(["skill", "agents", *_WRITERS])
        raise LibraryFormatError(f"there is no format {chosen!r} to write a library in; there are {known}")
    else:
        writer = _WRITERS[chosen] if chosen is not None else _brought(where.suffix.lower(), "write")
        if writer is None:
            raise LibraryFormatError(
                f"{where.name}: no format is written by that name; a library is written as .json, .md, .txt or .yaml, "
                "as AGENTS.md or CLAUDE.md, as a folder (an Agent Skill), or in a format that is named"
            )
        write_atomically(writer(library), where)


_Reader = Callable[[str, str], ExperienceLibrary]


def _format_of(path: Path) -> Format | None:
    if path.name.lower() in NAMES:
        return "agents"
    return "skill" if path.name == SKILL else _BY_SUFFIX.get(path.suffix.lower())


def _reader(suffix: str, text: str, name: str) -> _Reader:
    if suffix == ".json" or (suffix in _TEXTS and text.lstrip().startswith("{")):
        return _from_json
    if suffix in {".yaml", ".yml"}:
        return from_agent
    if suffix in _TEXTS and has_section(text):
        return from_agents_file
    if suffix in _TEXTS and is_playbook(text):
        return from_playbook
    by_suffix: dict[str, _Reader] = {".md": from_markdown, ".txt": from_lines, "": from_lines}
    if (brought := _brought(suffix, "read")) is not None and suffix not in by_suffix:
        return brought
    if suffix not in by_suffix:
        raise LibraryFormatError(f"{name}: {suffix} is no known library format; known are {KNOWN}")
    return from_markdown if text.startswith(HEADING) else by_suffix[suffix]


def _brought(suffix: str, action: str) -> Callable[..., Any] | None:
    """How another distribution reads or writes files of a suffix: its entry point is named like it, without the dot."""
    name = suffix.removeprefix(".")
    return getattr(load_plugin("formats", name), action, None) if name in plugins("formats") else None


def _from_json(text: str, name: str) -> ExperienceLibrary:
    try:
        document = json.loads(text) if '"skills"' in text or '"bullets"' in text else None
    except ValueError:
        document = None  # whatever it is, the reader of our own says what is wrong with it
    if document is not None and is_playbook_json(document):
        return from_playbook_json(document, name)
    return parse_library(text, source=name)
