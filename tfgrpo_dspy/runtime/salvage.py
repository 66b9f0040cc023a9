"""What a damaged file of a run still tells: records are looked for page by page, and each proves itself.

A database that has lost a page may be of no use to SQLite, though all others are as they were. The pages that hold
rows have a form of their own (https://www.sqlite.org/fileformat2.html), and each row of ours has a checksum, so that
they can be read whatever became of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from tfgrpo_dspy.runtime.database import PAGE, Record, connect
from tfgrpo_dspy.runtime.locks import first_free

_ROWS = 0x0D
"""First byte of a page that holds rows."""
_HEAD = 8
"""Bytes before the places of its rows; on the first page of a file, 100 more."""
_FRAME, _BEFORE_FRAMES = 24, 32
"""Bytes before each page in the write-ahead log, and before all of them."""
_TEXT = 13
"""An odd number from here on says that a column is a text, half of what is above it long."""
_COLUMNS = 5


def salvage(path: Path) -> tuple[Path, int]:
    """Put a damaged file aside, and write what can still be read of it into a new one.

    Returns:
        Where the damaged file is now, and how many records could be read.
    """
    aside = first_free(path, f"{path.stem}.damaged", path.suffix)
    for suffix in ("", "-wal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    saved = {record.id: record for record in records_in(aside)}
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", [saved[n] for n in sorted(saved)]
        )
        connection.execute("COMMIT")
    return aside, len(saved)


def records_in(path: Path) -> Iterator[Record]:
    """The records of a file, and of the write-ahead log beside it, that are what was written."""
    pages = dict(_pages_of(path.read_bytes()))
    with suppress(FileNotFoundError):
        pages |= dict(_pages_of_log(path.with_name(f"{path.name}-wal").read_bytes()))
    for page in pages.values():
        for place in _places(page):
            with suppress(IndexError, ValueError, KeyError):
                record = _record_at(page, place, pages)
                if record.is_whole:
                    yield record


def _pages_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Pages by their number, from 1."""
    for start in range(0, len(data), PAGE):
        yield start // PAGE + 1, data[start : start + PAGE]


def _pages_of_log(data: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(_BEFORE_FRAMES, len(data), _FRAME + PAGE):
        yield int.from_bytes(data[start : start + 4], "big"), data[start + _FRAME : start + _FRAME + PAGE]


def _places(page: bytes) -> list[int]:
    """Where the rows of a page begin; none if it holds none."""
    if len(page) < PAGE or page[0] != _ROWS:
        return []
    count = int.from_bytes(page[3:5], "big")
    places = [int.from_bytes(page[at : at + 2], "big") for at in range(_HEAD, _HEAD + 2 * count, 2)]
    return [place for place in places if place < PAGE]


def _record_at(page: bytes, place: int, pages: Mapping[int, bytes]) -> Record:
    """The row there; raises a ValueError, IndexError or KeyError if it is none of ours."""
    size, place = _number(page, place)
    number, place = _number(page, place)
    payload = _payload(page, place, size, pages)
    head, at = _number(payload, 0)
    kinds = []
    while at < head:
        kind, at = _number(payload, at)
        kinds.append(kind)
    if len(kinds) != _COLUMNS:
        raise ValueError("not one of ours")
    texts: list[str | None] = []
    for kind in kinds[1:]:
        length = max((kind - _TEXT) // 2, 0)
        texts.append(payload[at : at + length].decode() if kind >= _TEXT else None)
        at += length
    what, name, value, checksum = texts
    return Record(number, what or "", name, value or "", checksum or "")


def _payload(page: bytes, place: int, size: int, pages: Mapping[int, bytes]) -> bytes:
    """The bytes of a row: what is too long for its page goes on in others."""
    most = PAGE - 35
    if size <= most:
        return page[place : place + size]
    least = (PAGE - 12) * 32 // 255 - 23
    here = least + (size - least) % (PAGE - 4)
    here = here if here <= most else least
    parts, left = [page[place : place + here]], size - here
    following = int.from_bytes(page[place + here : place + here + 4], "big")
    while left > 0:
        parts.append(pages[following][4 : 4 + left])
        left -= PAGE - 4
        following = int.from_bytes(pages[following][:4], "big")
    return b"".join(parts)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for length in range(8):
        byte = data[at + length]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return value, at + length + 1
    return value << 8 | data[at + 8], at + 9
