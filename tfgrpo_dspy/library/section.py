"""How a library enters a prompt: one delimited section, one experience per line, foreign text made safe.

Pure text functions. Whatever an experience, a model's reply or a web page contains, it can neither close the
section nor look like an adapter's field marker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tfgrpo_dspy.text import estimate_tokens, one_line

if TYPE_CHECKING:
    from tfgrpo_dspy.library.experience import Experience

CountTokens = Callable[[str], int]

OPENING = "<experience-library>"
CLOSING = "</experience-library>"
PREAMBLE = (
    "Experiences from earlier attempts at tasks of this kind. Read them before you answer; "
    "follow each one whose condition fits the task at hand and pass over the others. Where you write down your "
    "reasoning, name those that you follow by their ids in brackets."
)

_ENTRY = re.compile(r"\[(G(?:0|[1-9][0-9]*))\] (.*)")
_SECTION = re.compile(rf"^{OPENING}\n(?:(?!.*</?{OPENING[1:]}).*\n)+{CLOSING}$", re.MULTILINE)


def render_lines(experiences: Iterable[Experience]) -> str:
    """One `[G7] text` line per experience, in library order; empty for none."""
    return "\n".join(f"[{e.id}] {one_line(e.text)}" for e in experiences)


def told_pinned(experiences: Iterable[Experience]) -> str:
    """Which of them must stay as they are, for a prompt; empty for none."""
    pinned = ", ".join(e.id for e in experiences if e.pinned)
    return f"pinned, not to be changed: {pinned}" if pinned else ""


def tokens_of(entries: Iterable[Experience], count: CountTokens | None = None) -> int:
    """Tokens of the rendered lines, counted or estimated."""
    return (count or estimate_tokens)(render_lines(entries))


def render_section(experiences: Sequence[Experience]) -> str:
    """The delimited section that `attach` appends to instructions; empty for no experience."""
    if not experiences:
        return ""
    return f"{OPENING}\n{PREAMBLE}\n{render_lines(experiences)}\n{CLOSING}"


def parse_lines(text: str) -> list[tuple[str, str]]:
    """The `(id, text)` pairs of `[G7] text` lines; other lines are passed over."""
    found = (_ENTRY.fullmatch(line) for line in text.splitlines())
    return [(match[1], match[2]) for match in found if match]


def append_section(instructions: str, section: str) -> str:
    """Instructions with the section at their end, replacing one that is there."""
    bare = remove_section(instructions)
    return f"{bare}\n\n{section}" if section else bare


def remove_section(instructions: str) -> str:
    """Instructions without any section: exactly the text before `append_section`."""
    while match := _last_section(instructions):
        instructions = instructions[: match.start()].removesuffix("\n\n") + instructions[match.end() :]
    return instructions


def find_section(instructions: str) -> str:
    """The last section, delimiters included; empty when there is none.

    A section is what `render_section` makes: delimiters alone on their lines, and a `[G7] text` line between them. Text
    that only mentions a delimiter is none.
    """
    match = _last_section(instructions)
    return match[0] if match else ""


def _last_section(instructions: str) -> re.Match[str] | None:
    sections = [match for match in _SECTION.finditer(instructions) if parse_lines(match[0])]
    return sections[-1] if sections else None
