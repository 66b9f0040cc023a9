"""The journal of a run: what finished tasks returned, on disk, so that a killed run is taken up where it was.

A run is a function of what its tasks return (rollouts, summaries, extractions, updates). Each task has a name that
does not depend on timing; the journal keeps its result under that name. Taking a run up again is running it again:
tasks with a result in the journal are not done again, and the library comes out byte for byte the same.

In the folder: `run.json` says what run it is, `journal.jsonl` has one line per finished task, `lock` keeps a second
process out.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tfgrpo_dspy.errors import JournalError
from tfgrpo_dspy.library_file import write_atomically

T = TypeVar("T")

VERSION = 1
_SHOWN = 60
"""Characters of a setting that a message shows at most."""


class Memory(Protocol):
    """Where a task's result is kept, if anywhere; a context manager that is open while a run goes on."""

    token: str | None
    """Names the run for ever; None if nothing is kept."""

    def __enter__(self) -> Memory: ...

    def __exit__(self, *exception: object) -> None: ...

    def once(self, name: str, kind: Any, task: Callable[[], T], *, keep: Callable[[T], bool] = lambda made: True) -> T:
        """The result of the named task: what is remembered, or what the task returns, kept if it is to be."""


class NoMemory:
    """Remembers nothing: every task is done."""

    token: str | None = None

    def __enter__(self) -> NoMemory:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def once(self, name: str, kind: Any, task: Callable[[], T], *, keep: Callable[[T], bool] = lambda made: True) -> T:
        """What the task returns."""
        return task()


class Journal:
    """The journal in a folder, open for one run of one process; use it as a context manager.

    Args:
        folder: Made if it is not there.
        identity: What decides the outcome of the run, by name, as JSON values. A journal of another run is refused.
        restart: Put an earlier journal aside (as `<folder>.<n>`) and start over.

    Raises:
        JournalError: Another process has it open, it belongs to a run with another identity, or it is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Mapping[str, Any], *, restart: bool = False) -> None:
        self.folder = Path(folder)
        self._identity = json.loads(json.dumps(identity))
        self.token: str | None = None
        """Names the run, the same whenever it is taken up; known once the journal is open."""
        self._restart = restart
        self._remembered: dict[str, Any] = {}
        self._writing = threading.Lock()

    def __enter__(self) -> Journal:
        if self._restart:
            put_aside(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._hold_lock()
        try:
            self._check_identity()
            self._file = open_lines(self.folder / "journal.jsonl", self._remembered)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        with self._writing:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1
        self._lock.release()

    def once(self, name: str, kind: Any, task: Callable[[], T], *, keep: Callable[[T], bool] = lambda made: True) -> T:
        """The result of the named task, from the journal or made now and written there.

        Args:
            name: Its name, the same in every run of this identity.
            kind: Its type, for reading it back: a dataclass, a union or a tuple of such.
            task: Makes it.
            keep: Whether what it made is to be kept; what was not tried (no budget was left) is not.
        """
        adapter = _adapter(kind)
        if name in self._remembered:
            remembered: T = adapter.validate_python(self._remembered[name], strict=False)
            return remembered
        made = task()
        if not keep(made):
            return made
        line = json.dumps({"name": name, "value": adapter.dump_python(made, mode="json")})
        with self._writing:
            if self._file >= 0:  # a straggler of a run that was stopped may come back after the journal was closed
                os.write(self._file, line.encode() + b"\n")
        return made

    def _hold_lock(self) -> None:
        from filelock import FileLock, Timeout

        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise JournalError(
                f"{self.folder} is in use by another process; wait for it to end, or give this run another folder"
            ) from None

    def _check_identity(self) -> None:
        path = self.folder / "run.json"
        if not path.exists():
            if (self.folder / "journal.jsonl").exists():
                raise JournalError(
                    f"{path} is missing beside a journal; a restart (restart=True, --restart) puts that aside"
                )
            self.token = uuid.uuid4().hex
            write_atomically(_document(self.token, self._identity), path)
            return
        self.token, earlier = _read_identity(path)
        differences = [
            f"{name} was {_short(earlier.get(name))}, is {_short(self._identity.get(name))}"
            for name in sorted({*earlier, *self._identity})
            if earlier.get(name) != self._identity.get(name)
        ]
        if differences:
            raise JournalError(
                f"{self.folder} holds another run: {'; '.join(differences)}; give this run another folder, or "
                "restart (restart=True, --restart) to put that one aside"
            )


def fingerprint(*parts: str) -> str:
    """Sixteen hexadecimal digits that change when a part does; it tells apart tasks of one name."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()


def put_aside(folder: Path) -> Path | None:
    """Rename a folder to the first free `<folder>.<n>`; returns its new place, None if there is no such folder."""
    if not folder.exists():
        return None
    number = 1
    while folder.with_name(f"{folder.name}.{number}").exists():
        number += 1
    return folder.rename(folder.with_name(f"{folder.name}.{number}"))


def open_lines(path: Path, remembered: dict[str, Any]) -> int:
    """Read a journal into `remembered` and open it for appending; a torn last line is cut off.

    Returns:
        The file descriptor.

    Raises:
        JournalError: A line other than the last is damaged.
    """
    data = path.read_bytes() if path.exists() else b""
    whole = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        record = _read_line(line)
        last = number >= len(lines) - (not lines[-1])
        if record is not None:
            remembered[record["name"]] = record["value"]
        elif line and not last:
            raise JournalError(
                f"{path}, line {number} is damaged; restore it from a backup, or start over (restart=True, --restart)"
            )
        else:
            break
        whole += len(line) + 1
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(file, min(whole, len(data)))
    os.lseek(file, 0, os.SEEK_END)
    if 0 < whole == len(data) + 1:  # complete, but for its line break
        os.write(file, b"\n")
    return file


def _read_line(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict) and set(record) == {"name", "value"}:
            return record
    return None


def _read_identity(path: Path) -> tuple[str, dict[str, Any]]:
    """Token and identity of the run that wrote the file."""
    with suppress(ValueError, KeyError, TypeError):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] == VERSION:
            return str(document["token"]), dict(document["identity"])
    raise JournalError(f"{path} is damaged, or of another version; start over (restart=True, --restart)")


def _document(token: str, identity: Mapping[str, Any]) -> str:
    made = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    head = {"format": "tfgrpo-run", "version": VERSION, "token": token, "made": made}
    return json.dumps({**head, "identity": identity}, indent=2) + "\n"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
