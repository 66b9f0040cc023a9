"""Who may work in a folder: one process at a time, told by a lock outside of what that process may move."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from tfgrpo_dspy.errors import StoreError

_TEMPORARY = re.compile(r"\..+\.(\d+)-\d+\.tmp")
"""What `write_atomically` calls a file that is not whole yet: `.library.json.<process>-<thread>.tmp`."""


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """While it is open, no other process works in the folder, nor on what is beside it under its name.

    The lock is a hidden file beside the folder, so that the folder can be renamed under it; where nothing may be
    written there, nothing can be renamed there either, and it is in the folder itself.

    Raises:
        StoreError: Another process does.
    """
    from filelock import FileLock, Timeout

    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.parent / f".{folder.name}.lock"
    if not os.access(beside if beside.exists() else folder.parent, os.W_OK):
        folder.mkdir(exist_ok=True)
        beside = folder / ".lock"
    lock = FileLock(beside)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(
            f"{folder} is in use by another process; wait for it to end, or give this run another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def put_aside(folder: Path) -> Path | None:
    """Rename a folder to the first free `<folder>.<n>`; returns its new place, None if there is no such folder.

    Hold it meanwhile: another process may be working in it.
    """
    if not folder.exists():
        return None
    return folder.rename(first_free(folder, f"{folder.name}."))


def first_free(path: Path, before: str, after: str = "") -> Path:
    """The first place beside a path that nothing is at, whose name is a number between two texts."""
    return next(place for n in count(1) if not (place := path.with_name(f"{before}{n}{after}")).exists())


def remove_what_killed_writers_left(folder: Path) -> None:
    """Take away files in a folder that were never finished, as the process that wrote them is no more."""
    for path in folder.glob(".*.tmp"):
        named = _TEMPORARY.fullmatch(path.name)
        if named is not None and not _is_alive(int(named[1])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        try:
            os.kill(process, 0)
        except PermissionError:
            return True  # of another user
        return True
    return False
