"""Agent Skills: a folder with SKILL.md, the general experiences in front, others in files that are read when needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.file import escape_markdown, markdown_lines, read_utf8, write_atomically
from tfgrpo_dspy.library.foreign.entries import Entry, library_of
from tfgrpo_dspy.library.foreign.lines import markdown_entries
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import PREAMBLE
from tfgrpo_dspy.text import counted, estimate_tokens, one_line

SKILL = "SKILL.md"
_REFERENCES = "references"
_OURS = re.compile(r"(?:further|scope-\d+)\.md")
_SCOPE = re.compile(r'^# Only for (".*")$', re.MULTILINE)
_FRONT = 4000
"""Estimated tokens of the experiences in front at most: a skill is read whole, its references one by one."""
_NAME_LENGTH = 64


def from_skill(folder: Path) -> ExperienceLibrary:
    """The library of a skill that `to_skill` wrote, or whose files have `- **G7** text` lines.

    Raises:
        LibraryFormatError: There is none in it.
        OSError: A file cannot be read.
    """
    name = f"{folder.name}/{SKILL}"
    return library_of(_entries(folder), name, "no `- **G0** text` line")


def to_skill(library: ExperienceLibrary, folder: Path) -> None:
    """Write a skill; what an earlier library left in the folder goes.

    Raises:
        OSError: The folder cannot be written to.
    """
    front, others = _divided(library)
    references = {
        f"{_REFERENCES}/{'further' if scope is None else f'scope-{at}'}.md": (scope, found)
        for at, (scope, found) in enumerate(others.items())
    }
    for path, (scope, found) in references.items():
        title = "# Further experiences" if scope is None else f"# Only for {json.dumps(scope)}"
        write_atomically(f"{title}\n\n{markdown_lines(found)}\n", folder / path)
    if (there := folder / _REFERENCES).is_dir():
        for file in there.iterdir():
            if _OURS.fullmatch(file.name) and f"{_REFERENCES}/{file.name}" not in references:
                file.unlink()
    write_atomically(_skill(library, front, references), folder / SKILL)


def _entries(folder: Path) -> Iterator[Entry]:
    reason = f"imported from the skill {folder.name}"
    yield from markdown_entries(read_utf8(folder / SKILL), reason)
    for path in sorted((folder / _REFERENCES).glob("*.md")):
        text = read_utf8(path)
        scoped = _SCOPE.search(text)
        yield from markdown_entries(text, reason, json.loads(scoped[1]) if scoped else None)


def _divided(library: ExperienceLibrary) -> tuple[list[Experience], dict[str | None, list[Experience]]]:
    """What stands in front, and the rest by the predictor that reads it; None for what no longer fits in front."""
    front: list[Experience] = []
    others: dict[str | None, list[Experience]] = {}
    room = _FRONT
    for experience in library:
        room -= estimate_tokens(experience.text) if experience.scope is None else 0
        if experience.scope is None and room >= 0:
            front.append(experience)
        else:
            others.setdefault(experience.scope, []).append(experience)
    return front, others


def _skill(
    library: ExperienceLibrary,
    front: Iterable[Experience],
    references: Mapping[str, tuple[str | None, list[Experience]]],
) -> str:
    about = f"tasks of the kind {one_line(library.domain)}" if library.domain is not None else "tasks of this kind"
    name = re.sub(r"[^a-z0-9]+", "-", f"{library.domain or 'learned'} experiences".lower()).strip("-")[:_NAME_LENGTH]
    description = (
        f"What earlier attempts at {about} taught: {counted(len(library), 'experience')}. Use it before such a task."
    )
    head = [
        "---",
        f"name: {name}",
        f"description: {json.dumps(description, ensure_ascii=False)}",
        "---",
        "",
        "# Experiences",
    ]
    parts = [*head, "", PREAMBLE, "", markdown_lines(front)]
    if references:
        parts += ["", "Read as well, where they apply:", ""]
    for path, (scope, found) in references.items():
        what = "further experiences" if scope is None else f"only for {escape_markdown(one_line(scope))}"
        parts.append(f"- [{path}]({path}): {counted(len(found), 'experience')}, {what}")
    return "\n".join(parts) + "\n"
