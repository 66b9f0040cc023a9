"""ACE playbooks: text with `[shr-00001] helpful=5 harmful=0 :: text` bullets below headings, and their JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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


class Bullet(NamedTuple):
    """One bullet of a playbook as it stands in a file."""

    line: int
    """From 1; in JSON its number."""
    id: str
    text: str
    section: str
    """The heading above it; empty without one."""
    helpful: int | None
    """Its counters; None where the file has none."""
    harmful: int | None


def is_playbook(text: str) -> bool:
    """Whether a text has a bullet."""
    return any(_BULLET.fullmatch(line.strip()) for line in text.splitlines())


def bullets_of(text: str, name: str) -> list[Bullet]:
    """The bullets of a playbook, text or JSON, in file order.

    Args:
        text: Of the file.
        name: Of the file, for messages.

    Raises:
        LibraryFormatError: A bullet of a JSON has no text.
    """
    if text.lstrip().startswith("{"):
        document = json.loads(text)
        return list(_json_bullets(document, name)) if is_playbook_json(document) else []
    section, bullets, is_code = "", list[Bullet](), False
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        is_code = is_code != line.startswith("```")  # a comment in code is no heading
        if not is_code and (heading := _SECTION.fullmatch(line)):
            section = heading[1]
        elif found := _BULLET.fullmatch(line):
            is_code = False
            helpful, harmful = (None if counter is None else int(counter) for counter in found.group(2, 3))
            bullets.append(Bullet(number, found[1], found[4], section, helpful, harmful))
        elif line and bullets:  # a bullet that runs over several lines
            bullets[-1] = bullets[-1]._replace(text=f"{bullets[-1].text} {line}")
    return bullets


def from_playbook(text: str, name: str) -> ExperienceLibrary:
    """The bullets in file order; section, id and counters go to the reason of each."""
    return library_of(map(_entry, bullets_of(text, name)), name, "no `[shr-00001] text` line")


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
    return library_of(map(_entry, _json_bullets(document, name)), name, "no bullet with a text")


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


def _json_bullets(document: Mapping[str, Any], name: str) -> Iterator[Bullet]:
    held = next(document[key] for key in _KEYS if isinstance(document.get(key), dict | list))
    items = held.items() if isinstance(held, dict) else ((str(at), one) for at, one in enumerate(held))
    for at, (key, item) in enumerate(items, start=1):
        content = item.get("content", item.get("text")) if isinstance(item, dict) else item
        if not isinstance(content, str):
            raise LibraryFormatError(f"{name}: bullet {key} has no text in `content`; give it one or take it out")
        told = item if isinstance(item, dict) else {}
        if told.get("status") == "invalid":  # deleted there, and kept for the record
            continue
        helpful, harmful = (told[word] if isinstance(told.get(word), int) else None for word in ("helpful", "harmful"))
        yield Bullet(at, str(told.get("id", key)), content, str(told.get("section", "")), helpful, harmful)


def _entry(bullet: Bullet) -> Entry:
    own = _OURS.fullmatch(bullet.id)
    scope = bullet.section.removeprefix(_SCOPED) if own and bullet.section.startswith(_SCOPED) else None
    parts = ["imported from ACE playbook", *([f"section {bullet.section}"] if bullet.section else []), bullet.id]
    counters = {"helpful": bullet.helpful, "harmful": bullet.harmful}
    parts += [f"{word} {number}" for word, number in counters.items() if number is not None]
    return Entry(bullet.line, f"G{own[1]}" if own else None, bullet.text, ", ".join(parts), scope)


def _sections(library: ExperienceLibrary) -> dict[str, list[Experience]]:
    found: dict[str, list[Experience]] = {}
    for experience in library:
        heading = _HEADING if experience.scope is None else f"{_SCOPED}{one_line(experience.scope)}"
        found.setdefault(heading, []).append(experience)
    return found


def _id(experience: Experience) -> str:
    return f"g-{id_number(experience.id):05d}"
