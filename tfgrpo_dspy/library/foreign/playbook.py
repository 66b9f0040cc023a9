"""ACE playbooks: text with `[shr-00001] helpful=5 harmful=0 :: text` bullets below headings, and their JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.experience import Experience, id_number
from tfgrpo_dspy.library.foreign.entries import Entry, library_of
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.text import one_line

_BULLET = re.compile(r"\[([a-z][a-z_]*-\d+)\](?:\s+helpful=(\d+)\s+harmful=(\d+)(?:\s+\w+=\d+)*\s*::)?\s*(.*)")
_SECTION = re.compile(r"##\s+(.+?):?\s*")
_OURS = re.compile(r"g-0*(\d+)")
"""The id of a bullet that a library of ours was written to, and that it is read back from."""
_HEADING = "EXPERIENCES"
_SCOPED = "EXPERIENCES FOR "
_KEYS = ("skills", "bullets")
"""What the mapping of bullets is called, in the present and in earlier versions."""


def is_playbook(text: str) -> bool:
    """Whether a text has a bullet."""
    return any(_BULLET.fullmatch(line.strip()) for line in text.splitlines())


def from_playbook(text: str, name: str) -> ExperienceLibrary:
    """The bullets in file order; section, id and counters go to the reason of each."""
    section, entries = "", list[Entry]()
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if heading := _SECTION.fullmatch(line):
            section = heading[1]
        elif bullet := _BULLET.fullmatch(line):
            counters = {"helpful": bullet[2], "harmful": bullet[3]} if bullet[2] is not None else {}
            entries.append(_entry(number, bullet[1], bullet[4], section, counters))
        elif line and entries:  # a bullet that runs over several lines
            entries[-1] = entries[-1]._replace(text=f"{entries[-1].text} {line}")
    return library_of(entries, name, "no `[shr-00001] text` line")


def to_playbook(library: ExperienceLibrary) -> str:
    """The playbook as text; experiences that only one predictor reads have a section of their own."""
    lines: list[str] = []
    for heading, found in _sections(library).items():
        lines += [f"## {heading}", *(f"[{_id(e)}] helpful=0 harmful=0 :: {one_line(e.text)}" for e in found), ""]
    return "\n".join(lines)


def is_playbook_json(document: object) -> bool:
    """Whether a JSON document holds bullets."""
    return isinstance(document, dict) and any(isinstance(document.get(key), dict | list) for key in _KEYS)


def from_playbook_json(document: Mapping[str, Any], name: str) -> ExperienceLibrary:
    """The bullets of a playbook's or a skillbook's JSON, in file order."""
    held = next(document[key] for key in _KEYS if isinstance(document.get(key), dict | list))
    items = held.items() if isinstance(held, dict) else ((str(at), one) for at, one in enumerate(held))
    return library_of(_json_entries(items, name), name, "no bullet with a text")


def to_playbook_json(library: ExperienceLibrary) -> str:
    """The playbook as JSON, indented."""
    sections = _sections(library)
    skills = {
        _id(e): {
            "id": _id(e),
            "section": heading,
            "content": one_line(e.text),
            "helpful": 0,
            "harmful": 0,
            "neutral": 0,
        }
        for heading, found in sections.items()
        for e in found
    }
    told = {heading: [_id(e) for e in found] for heading, found in sections.items()}
    return (
        json.dumps({"skills": skills, "sections": told, "next_id": library.next_id}, indent=2, ensure_ascii=False)
        + "\n"
    )


def _json_entries(items: Any, name: str) -> Iterator[Entry]:
    for at, (key, item) in enumerate(items, start=1):
        content = item.get("content", item.get("text")) if isinstance(item, dict) else item
        if not isinstance(content, str):
            raise LibraryFormatError(f"{name}: bullet {key} has no text in `content`; give it one or take it out")
        told = item if isinstance(item, dict) else {}
        counters = {word: told[word] for word in ("helpful", "harmful") if isinstance(told.get(word), int)}
        yield _entry(at, str(told.get("id", key)), content, str(told.get("section", "")), counters)


def _entry(line: int, id: str, text: str, section: str, counters: Mapping[str, Any]) -> Entry:
    own = _OURS.fullmatch(id)
    scope = section.removeprefix(_SCOPED) if own and section.startswith(_SCOPED) else None
    parts = ["imported from ACE playbook", *([f"section {section}"] if section else []), id]
    parts += [f"{word} {number}" for word, number in counters.items()]
    return Entry(line, f"G{own[1]}" if own else None, text, ", ".join(parts), scope)


def _sections(library: ExperienceLibrary) -> dict[str, list[Experience]]:
    found: dict[str, list[Experience]] = {}
    for experience in library:
        heading = _HEADING if experience.scope is None else f"{_SCOPED}{one_line(experience.scope)}"
        found.setdefault(heading, []).append(experience)
    return found


def _id(experience: Experience) -> str:
    return f"g-{id_number(experience.id):05d}"
