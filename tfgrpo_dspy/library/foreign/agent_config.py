"""youtu-agent configurations: YAML whose `agent.instructions` hold `[G0]. Name: text` entries."""

from __future__ import annotations

import re
from typing import Any

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.foreign.entries import KNOWN, Entry, library_of
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import PREAMBLE
from tfgrpo_dspy.text import one_line

_LINE = re.compile(r"\s*\[(G\d+)\]\.?(?:\s+(.*))?")


def from_agent(text: str, name: str) -> ExperienceLibrary:
    """The entries of an agent's instructions; what follows one up to the next belongs to it."""
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
    reason, entries = f"imported from the agent configuration {name}", list[Entry]()
    for number, line in enumerate(instructions.splitlines(), start=1):
        if match := _LINE.fullmatch(line):
            entries.append(Entry(number, match[1], match[2] or "", reason))
        elif entries and line.strip():
            entries[-1] = entries[-1]._replace(text=f"{entries[-1].text} {line.strip()}")
    return library_of(entries, f"{name}: agent.instructions", "no `[G0]. Name: text` line")


def to_agent(library: ExperienceLibrary) -> str:
    """A configuration of an agent that reads the library; its other settings are to be added."""
    import yaml  # only this format needs it

    lines = [PREAMBLE, "", *(f"[{e.id}]. {one_line(e.text)}" for e in library)]
    agent = {"name": f"{library.domain or 'practice'}_agent".replace(" ", "_"), "instructions": "\n".join(lines)}
    text: str = yaml.safe_dump({"agent": agent}, allow_unicode=True, sort_keys=False, width=2**31)
    return text
