"""Reading the store of a run from outside: nothing is written, and the run may be going on meanwhile."""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tfgrpo_dspy.errors import DataError, StoreError
from tfgrpo_dspy.lm.budget import Spent
from tfgrpo_dspy.runtime import database
from tfgrpo_dspy.runtime.database import ABOUT, NAME, NOTE, RESULT, STEP, TEXTS, Record
from tfgrpo_dspy.runtime.kept import put_together
from tfgrpo_dspy.runtime.store import spent_by


class Note(NamedTuple):
    """Something that happened to the run."""

    at: str
    text: str


def store_in(folder: str | os.PathLike[str]) -> Path:
    """The store of a run, by the run's folder or by the store's own.

    Raises:
        DataError: There is none.
    """
    places = [Path(folder) / "log" / NAME, Path(folder) / NAME]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"there is no {NAME} of a run in {folder}; name the --out folder of tfgrpo compile, or its --log-dir"
    )


def spent_in(folder: str | os.PathLike[str]) -> Spent:
    """What the run in a `log_dir` has spent so far; nothing if there is none.

    Raises:
        StoreError: It cannot be read.
    """
    if not (Path(folder) / NAME).exists():
        return Spent()
    with reading(folder) as stored:
        return stored.spent


@contextmanager
def reading(folder: str | os.PathLike[str]) -> Iterator[Stored]:
    """The store of a run, for reading; it stays open as long as what was read from it is looked at.

    Raises:
        DataError: There is none.
        StoreError: It cannot be read.
    """
    path = store_in(folder)
    try:
        stored = Stored(path, database.connect_for_reading(path))
        yield stored
    except sqlite3.Error as error:
        raise StoreError(f"{path} {database.why(error)}") from error


class Stored:
    """What the store of a run holds; `reading` makes it.

    Args:
        path: The file.
        connection: To it, for reading.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        weakref.finalize(self, connection.close)
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise DataError(f"{path} is only just being made; look again in a moment")
        database.check_format(connection, path)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is said of the run as a whole: `token`, `made`, `identity`, `caps`."""
        return {str(record.name): json.loads(record.value) for record in database.records(self._connection, ABOUT)}

    @property
    def steps(self) -> dict[int, Mapping[str, Any]]:
        """Steps that are over, by number."""
        found = {int(str(record.name)): json.loads(record.value) for record in self._records(STEP)}
        return dict(sorted(found.items()))

    @property
    def notes(self) -> list[Note]:
        """What happened to it, in order."""
        return [Note(**json.loads(record.value)) for record in self._records(NOTE)]

    @property
    def spent(self) -> Spent:
        """By all processes of the run together."""
        return spent_by(self._connection, self.damaged)

    @property
    def damaged(self) -> list[Record]:
        """Records that are not what was written."""
        return database.damaged_in(self._connection)

    @property
    def counts(self) -> Mapping[str, int]:
        """Results, by what they were made for: `training`, `summary`, ..."""
        names = self._connection.execute("SELECT name FROM records WHERE kind = ?", (RESULT,))
        return Counter(kind_of(name) for (name,) in names)

    @property
    def size(self) -> int:
        """Records of any kind."""
        return database.number_of(self._connection)

    def names(self) -> list[str]:
        """Names of results, in the order in which they came."""
        found = self._connection.execute("SELECT name FROM records WHERE kind = ? ORDER BY id", (RESULT,))
        return [name for (name,) in found]

    def result(self, name: str, kind: Any) -> Any:
        """The result of that name.

        Raises:
            StoreError: It is damaged.
        """
        return put_together(self._value_of(database.record_of(self._connection, RESULT, name)), kind, self)

    def export(self) -> Iterator[Mapping[str, Any]]:
        """Every record that is whole, as JSON values: kind, name, value, a result with its texts."""
        for record in database.records(self._connection):
            if record.kind != TEXTS and record.is_whole:
                yield {"kind": record.kind, "name": record.name, "value": self._whole(json.loads(record.value))}

    def part(self, number: int) -> Any:
        """A record's value by its number."""
        return self._value_of(database.record_at(self._connection, number))

    def _value_of(self, record: Record | None) -> Any:
        if record is None or not record.is_whole:
            named = "a record" if record is None else record.described
            raise StoreError(f"{named} of {self.path} is damaged; the run makes it again when it is taken up")
        return json.loads(record.value)

    def _whole(self, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(number := value.get("texts"), int):
            return value
        return {**{name: part for name, part in value.items() if name != "texts"}, **self.part(number)}

    def _records(self, kind: str) -> Iterator[Record]:
        return (record for record in database.records(self._connection, kind) if record.is_whole)


def kind_of(name: str) -> str:
    """What a result was made for, by its name: `training seed 0: s1/e0/r0 ...` was for training."""
    return (name.partition(" seed ")[0] if ": " in name else name.partition(" ")[0]) or name
