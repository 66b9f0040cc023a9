"""Finding the processes of a test's sandboxes by the word in their environment."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path


def processes_with(mark: str) -> list[int]:
    """Ids of the processes that carry a mark in their environment, or bwrap in the options that set it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:  # gone, or not ours
                continue
            if mark.encode() in told:
                found.append(int(folder.name))
    return found


def that_stay(mark: str, seconds: float = 300.0) -> list[int]:
    """Those of them that do not end: one that was killed takes a moment to give back its memory."""
    for process in processes_with(mark):
        with suppress(ProcessLookupError):
            ends = os.pidfd_open(process)
            select.select([ends], [], [], seconds)
            os.close(ends)
    return processes_with(mark)


def interpreters(mark: str) -> set[int]:
    """Those of them that run code."""
    return {process for process in processes_with(mark) if _name_of(process).startswith("python")}


def _name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8")
    except OSError:
        return ""
