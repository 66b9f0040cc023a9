"""The file of a run as a database: records with checksums, one sentence for each way in which a disk can fail.

One table holds everything, so that one loop verifies it, one exports it and one saves what a damaged file still tells.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.text import counted

NAME = "run.db"
"""The file in a run's `log_dir`."""
VERSION = 1
_APPLICATION = 0x74666772
"""`tfgr`: says in the file's head whose it is."""
_PATIENCE = 5.0
"""Seconds that another program may keep the file locked when it is opened."""
_PATIENCE_ON_THE_WAY = 100
"""Milliseconds afterwards: whoever writes holds up whoever wants to interrupt the run, and tries again anyway."""
PAGE = 4096
"""Bytes that the file is read and written in."""

_TABLE = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT,
    value TEXT NOT NULL,
    checksum TEXT NOT NULL,
    UNIQUE (kind, name)
)
"""

ABOUT, RESULT, TEXTS, STEP, PART, SPENT, NOTE = "about", "result", "texts", "step", "part", "spent", "note"
"""Kinds of records: what run it is, what a task returned, the long texts of one, a step, a group or an advantage of
one, a change of the account, what happened to the file."""


class Record(NamedTuple):
    """One row."""

    id: int
    kind: str
    name: str | None
    """None where a kind needs none."""
    value: str
    """JSON."""
    checksum: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it is what was written."""
        return self.checksum == checksum_of(self.kind, self.name, self.value)

    @property
    def described(self) -> str:
        """For a person."""
        return f"{self.kind} {self.name}" if self.name is not None else f"{self.kind} {self.id}"


def checksum_of(kind: str, name: str | None, value: str) -> str:
    """Sixteen hexadecimal digits of what a record says."""
    digest = blake2b(f"{kind}\0{name or ''}\0".encode(), digest_size=8)
    digest.update(value.encode())
    return digest.hexdigest()


def as_json(value: Any) -> str:
    """JSON that can be written as UTF-8, whatever stands in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, half of an emoji
        return json.dumps(value, separators=(",", ":"))
    return text


def connect(path: Path | None) -> sqlite3.Connection:
    """The database in a file, made if it is not there; None for one in a file without a name, for this process only.

    Raises:
        sqlite3.Error: It cannot be opened, or is damaged.
    """
    connection = sqlite3.connect(path or "", timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute("PRAGMA secure_delete = ON")  # else `salvage` would find what is no longer so
        if path is None:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")
        else:
            connection.execute("PRAGMA journal_mode = WAL")  # readers do not keep a run from writing
            connection.execute("PRAGMA synchronous = NORMAL")
        _make_table(connection)
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_ON_THE_WAY}")
    except UnicodeDecodeError as error:  # SQLite quotes what it could not make sense of
        connection.close()
        raise _damage("its head makes no sense") from error
    except BaseException:
        connection.close()
        raise
    return connection


def make_one_file(connection: sqlite3.Connection) -> None:
    """Take away what is beside the file while it is written; it stays if somebody is reading just now."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """The same, for reading only; a run may be writing meanwhile.

    Raises:
        sqlite3.Error: It cannot be opened, or is damaged.
    """
    uri = path.resolve().as_uri()
    connect = partial(sqlite3.connect, timeout=_PATIENCE, isolation_level=None, uri=True, check_same_thread=False)
    connection = connect(f"{uri}?mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # in a folder that may not be written to: nobody else writes there either
        connection.close()
        connection = connect(f"{uri}?immutable=1")
    return connection


def _make_table(connection: sqlite3.Connection) -> None:
    """In one transaction: a file is never half made."""
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Raises `StoreError` for a database that is not a run's, or of another version."""
    [application], [version] = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if application != _APPLICATION or version != VERSION:
        raise StoreError(
            f"{path} is not the store of a run in this version's format; give this run another folder, or restart "
            "(`restart=True`) to put that one aside"
        )


def put(connection: sqlite3.Connection, kind: str, name: str | None, value: str) -> int:
    """Write a record, in place of one of that kind and name; returns its number, which no other ever has."""
    checksum = checksum_of(kind, name, value)
    found = None
    if name is not None:
        asked = "SELECT id, checksum FROM records WHERE kind = ? AND name = ?"
        found = connection.execute(asked, (kind, name)).fetchone()
    if found is None:
        added = connection.execute(
            "INSERT INTO records (kind, name, value, checksum) VALUES (?, ?, ?, ?)", (kind, name, value, checksum)
        ).lastrowid
        assert added is not None
        return added
    if found[1] != checksum:
        connection.execute("UPDATE records SET value = ?, checksum = ? WHERE id = ?", (value, checksum, found[0]))
    return int(found[0])


def number_of(connection: sqlite3.Connection, kind: str = "%") -> int:
    """How many records there are of a kind, or of any."""
    return int(connection.execute("SELECT count(*) FROM records WHERE kind LIKE ?", (kind,)).fetchone()[0])


def record_at(connection: sqlite3.Connection, number: int) -> Record | None:
    """The record of that number; None if there is none."""
    row = connection.execute("SELECT * FROM records WHERE id = ?", (number,)).fetchone()
    return None if row is None else Record(*row)


def record_of(connection: sqlite3.Connection, kind: str, name: str) -> Record | None:
    """The record of that kind and name; None if there is none."""
    row = connection.execute("SELECT * FROM records WHERE kind = ? AND name = ?", (kind, name)).fetchone()
    return None if row is None else Record(*row)


def records(connection: sqlite3.Connection, kind: str | None = None) -> Iterator[Record]:
    """All records, or those of one kind, in the order in which they were written; values as they are.

    Raises:
        sqlite3.Error: They cannot be read, or the file is damaged.
    """
    where = "" if kind is None else " WHERE kind = ?"
    found = connection.execute(
        f"SELECT id, kind, name, value, checksum FROM records{where} ORDER BY id", () if kind is None else (kind,)
    )
    for number, what, name, value, checksum in found:
        named = None if name is None else str(_readable(name))
        yield Record(number, str(_readable(what)), named, str(_readable(value)), str(_readable(checksum)))


def _readable(value: Any) -> Any:
    """A damaged value may be of any type: as text it does not fit its checksum."""
    return value if isinstance(value, str | int) else repr(value)


def damaged_in(connection: sqlite3.Connection) -> list[Record]:
    """Records that are not what was written, and results whose texts are not.

    Raises:
        sqlite3.Error: The file itself is damaged.
    """
    [said] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise _damage(said)
    damaged, texts, results = list[Record](), set[int](), list[tuple[Record, int]]()
    connection.text_factory = _lenient
    try:
        for record in records(connection):
            if not record.is_whole:
                damaged.append(record)
            elif record.kind == TEXTS:
                texts.add(record.id)
            elif record.kind == RESULT and (referred := _REFERENCE.search(record.value)) is not None:
                results.append((record._replace(value=""), int(referred[1])))
    finally:
        connection.text_factory = str
    return damaged + [record for record, referred in results if referred not in texts]


_REFERENCE = re.compile(r'"texts":(\d+)}$')
"""How a result ends that has long texts."""


def _lenient(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _damage(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error at opening says that the file is no sound database."""
    return _code_of(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def why(error: sqlite3.Error) -> str:
    """What is wrong with the file and how to mend it, to follow its name."""
    return _WHY.get(_code_of(error), f"cannot be used ({error}); check the disk it is on")


def _code_of(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


_WHY = {
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full; make room on it",
    sqlite3.SQLITE_IOERR: "cannot be written or read: the disk is full, over a quota, or failing; make room on it",
    sqlite3.SQLITE_BUSY: "is locked by another program; close whatever else has it open",
    sqlite3.SQLITE_LOCKED: "is locked by another program; close whatever else has it open",
    sqlite3.SQLITE_READONLY: "may not be written to; check its permissions",
    sqlite3.SQLITE_PERM: "may not be written to; check its permissions",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check the path and its permissions",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup, or start over (`restart=True`)",
    sqlite3.SQLITE_NOTADB: "is damaged; restore it from a backup, or start over (`restart=True`)",
}


def list_of(damaged: list[Record], most: int = 3) -> str:
    """Names of damaged records, for a sentence."""
    named = ", ".join(record.described for record in damaged[:most])
    return f"{counted(len(damaged), 'record')} ({named}{', ...' if len(damaged) > most else ''})"
