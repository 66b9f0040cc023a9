"""What a run has spent, on disk: written down before a request is sent, so that a kill forgets none.

One line per change of the account, in the order of the changes, never rewritten: what is set aside when a call is
started, and how that differs from what it took when it ends. Their sum is what was spent, and of calls that were in
flight when the run was killed, what had been set aside for them.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from tfgrpo_dspy.errors import JournalError
from tfgrpo_dspy.lm.budget import Spent

NAME = "spent.jsonl"
"""The file in a run's `log_dir`."""


class Ledger:
    """The ledger in a file, open for appending. Thread-safe.

    Args:
        path: Made if it is not there; a torn last line is cut off, as its call was not sent.

    Raises:
        JournalError: Another line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before, whole = _read(path)
        """What was spent until it was opened."""
        self._writing = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self._file, whole)
        os.lseek(self._file, 0, os.SEEK_END)

    def add(self, change: Spent) -> None:
        """Write a change down; once it is closed, nothing.

        Raises:
            OSError: It cannot be written.
        """
        values = {f.name: value for f in _FIELDS if (value := getattr(change, f.name))}
        line = json.dumps(values).encode() + b"\n"
        with self._writing:
            if self._file < 0:  # a straggler of a run that was stopped
                return
            written = os.write(self._file, line)
            if written < len(line):  # a line begun on a full disk would make the next one unreadable
                os.ftruncate(self._file, os.lseek(self._file, -written, os.SEEK_CUR))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Nothing is written any more; can be called twice."""
        with self._writing:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


_FIELDS = fields(Spent)
_NAMES = {f.name for f in _FIELDS}


def spent_in(folder: str | os.PathLike[str]) -> Spent:
    """What the run whose journal is in a folder has spent so far; nothing if there is none.

    Raises:
        JournalError: Its ledger is damaged.
    """
    return _read(Path(folder) / NAME)[0]


def _read(path: Path) -> tuple[Spent, int]:
    """The sum of the whole lines, and their bytes."""
    if not path.exists():
        return Spent(), 0
    total, whole = Spent(), 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            change = _change(line)
            if change is not None:
                total, whole = total + change, whole + len(line)
            elif lines.read(1):
                raise JournalError(
                    f"{path}, line {number} is damaged; restore it from a backup, or start over (`restart=True`)"
                )
    return total, whole


def _change(line: bytes) -> Spent | None:
    """What a line says; None if it is torn or damaged."""
    with suppress(ValueError, TypeError):
        values = json.loads(line)
        if line.endswith(b"\n") and isinstance(values, dict) and set(values) <= _NAMES:
            return Spent() + Spent(**values)  # a TypeError if one is no number
    return None
