"""The journal of a run: what finished tasks returned, on disk, so that a killed run is taken up where it was.

A run is a function of what its tasks return (rollouts, summaries, extractions, updates). Each task has a name that
does not depend on timing; the journal keeps its result under that name. Taking a run up again is running it again:
tasks with a result in the journal are not done again, and the library comes out byte for byte the same.

In the folder: `run.json` says what run it is, `journal.jsonl` has one line per finished task, `spent.jsonl` what was
spent (see `ledger`), `lock` keeps a second process out.
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
from typing import Any, NamedTuple, Protocol, TypeVar

from tfgrpo_dspy.errors import JournalError
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.lm.ledger import NAME, Ledger

T = TypeVar("T")

VERSION = 1
_SHOWN = 60
"""Characters of a setting that a message shows at most."""


class Line(NamedTuple):
    """Where a line of the journal is, in bytes."""

    start: int
    length: int


class Memory(Protocol):
    """Where a task's result is kept, if anywhere; a context manager that is open while a run goes on."""

    token: str | None
    """Names the run for ever; None if nothing is kept."""
    ledger: Ledger | None
    """Where it is kept what the run has spent; None if nowhere."""

    def __enter__(self) -> Memory: ...

    def __exit__(self, *exception: object) -> None: ...

    def once(self, name: str, kind: Any, task: Callable[[], T], *, keep: Callable[[T], bool] = lambda made: True) -> T:
        """The result of the named task: what is remembered, or what the task returns, kept if it is to be."""


class NoMemory:
    """Remembers nothing: every task is done."""

    token: str | None = None
    ledger: Ledger | None = None

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
        self.ledger: Ledger | None = None
        """What the run has spent; there once the journal is open."""
        self._restart = restart
        self._remembered: dict[str, Line] = {}
        self._writing = threading.Lock()

    def __enter__(self) -> Journal:
        if self._restart:
            put_aside(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._hold_lock()
        try:
            self._check_identity()
            self.ledger = Ledger(self.folder / NAME)
            self._file, self._remembered = open_lines(self._path)
        except BaseException:
            if self.ledger is not None:
                self.ledger.close()
            self._lock.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        with self._writing:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1
        if self.ledger is not None:
            self.ledger.close()
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
            remembered: T = adapter.validate_python(_value_at(self._path, self._remembered[name]), strict=False)
            return remembered
        made = task()
        if not keep(made):
            return made
        line = json.dumps({"name": name, "value": adapter.dump_python(made, mode="json")})
        with self._writing:
            if self._file >= 0:  # a straggler of a run that was stopped may come back after the journal was closed
                os.write(self._file, line.encode() + b"\n")
        return made

    @property
    def _path(self) -> Path:
        return self.folder / "journal.jsonl"

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
            if self._path.exists():
                raise JournalError(f"{path} is missing beside a journal; a restart (`restart=True`) puts that aside")
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
                "restart (`restart=True`) to put that one aside"
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


def open_lines(path: Path) -> tuple[int, dict[str, Line]]:
    """Open a journal for appending; a torn last line is cut off.

    Returns:
        The file descriptor, and where the line of each task is: a run's values may be more than memory holds.

    Raises:
        JournalError: A line other than the last is damaged.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        places, whole, ends = _find_lines(path)
    except BaseException:
        os.close(file)
        raise
    os.ftruncate(file, whole)
    os.lseek(file, 0, os.SEEK_END)
    if not ends:
        os.write(file, b"\n")
    return file, places


def _find_lines(path: Path) -> tuple[dict[str, Line], int, bool]:
    """Where the line of each task is, how many bytes are whole lines, and whether the last has its line break."""
    places: dict[str, Line] = {}
    whole, ends = 0, True
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            record = _read_line(line)
            if record is not None:
                places[record["name"]] = Line(whole, len(line))
                whole, ends = whole + len(line), line.endswith(b"\n")
            elif lines.read(1):
                raise JournalError(
                    f"{path}, line {number} is damaged; restore it from a backup, or start over (`restart=True`)"
                )
    return places, whole, ends


def _value_at(path: Path, place: Line) -> Any:
    with path.open("rb") as file:
        file.seek(place.start)
        return json.loads(file.read(place.length))["value"]


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
    raise JournalError(f"{path} is damaged, or of another version; start over (`restart=True`)")


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
