"""Rows of a file, each with the place it comes from; what cannot be read is reported by file, line and field.

Text formats are read with the standard library, so that a bad line is told by its number; Parquet and Arrow need the
extra `datasets`.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tfgrpo_dspy.errors import DataError, MissingExtraError


class Row(NamedTuple):
    """A row and where it stands."""

    where: str
    """For messages, e.g. `train.jsonl, line 17`."""
    values: Mapping[str, Any]
    inputs: tuple[str, ...] | None = None
    """The columns that an Example says are its inputs; None for rows that say nothing."""


NEEDED = "{what} needs the package {package}: pip install 'tfgrpo-dspy[datasets]'"
STDIN = "-"
_UTF_16 = "UTF-16 or UTF-32; save the file as UTF-8"
_FIRST_LINE = 100_000
"""Characters of a CSV in which its first line is looked for."""
_GZIP = b"\x1f\x8b"
_BEGINNINGS = {
    b"PAR1": "Parquet; name it .parquet",
    b"ARROW1": "Arrow; name it .arrow",
    _GZIP: "compressed by gzip; add .gz to its name",
    b"PK": "a ZIP archive, as spreadsheets are; take the files out of it, or export them as .csv",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
}
"""How files begin that are something else than a text, and what to do with them."""

_PART = re.compile(r"([\w.-]+)?\[(-?\d*%?):(-?\d*%?)\]")
"""A part of the rows of a split: `train[:100]`, `[100:200]`, `test[-10:]`, `train[:10%]`."""

_COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_PACKED = frozenset({".zst", ".zip", ".7z", ".rar", ".lz4", ".br"})


def reader_of(name: str) -> Callable[[Path], Iterator[Row]] | None:
    """What reads a file of that name, by its suffix; None for a suffix that is not known."""
    path = Path(name)
    suffix = (path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path).suffix.lower()
    return _READERS.get(suffix)


def is_packed(name: str) -> bool:
    """Whether a file of that name would be read if it were unpacked first, by hand."""
    path = Path(name)
    return path.suffix.lower() in _PACKED and path.with_suffix("").suffix.lower() in _READERS


def stdin_rows() -> Iterator[Row]:
    """Rows of standard input, as `piped_rows` reads them."""
    piped = getattr(sys.stdin, "buffer", None)
    return piped_rows(
        piped.read() if piped is not None else sys.stdin.read().encode("utf-8", "surrogatepass"), "standard input"
    )


def piped_rows(raw: bytes, where: str) -> Iterator[Row]:
    """Rows of what has no name: JSON lines, a JSON document, CSV or TSV, told by how it begins.

    Raises:
        DataError: It is none of these.
    """
    with _unpacking(where):
        text = _decoded(gzip.decompress(raw) if raw.startswith(_GZIP) else raw, where)
    first = text.lstrip().partition("\n")[0]
    if first.startswith("{") and _is_json(first):
        return _rows_of_lines((line.encode("utf-8", "surrogatepass") for line in text.split("\n")), where)
    if first.startswith(("[", "{")):
        return _rows_of_document(_loads(text, where), where)
    return _rows_of_csv(text, where)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with _opened(path) as file:
        yield from _rows_of_lines(file, path.name)


def _rows_of_lines(lines: Iterable[bytes], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        where, text = f"{name}, line {number}", _decoded(line, name, number)
        if number == 1 and text.lstrip().startswith("["):
            raise DataError(f"{where}: a row must be a JSON object; a file that is one list of them is named .json")
        if text.strip():
            yield _row(_loads(text, where), where)


def rows_of_columns(columns: Mapping[Any, Any], name: str) -> list[dict[Any, Any]] | None:
    """The rows of `{"question": [...], "answer": [...]}`; None if not all of it is lists, or lists of rows.

    Raises:
        DataError: They are of different lengths.
    """
    if not all(isinstance(cells, list) for cells in columns.values()):
        return None
    if all(isinstance(cell, Mapping) for cells in columns.values() for cell in cells):  # splits, or nothing
        return None
    if len({len(cells) for cells in columns.values()}) > 1:
        lengths = ", ".join(f"{column} {len(cells)}" for column, cells in columns.items())
        raise DataError(f"{name}: its columns are of different lengths ({lengths}); a row has a cell of each")
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _rows_of_document(document: Any, name: str) -> Iterator[Row]:
    rows = document
    if isinstance(document, dict):
        rows = document["data"] if isinstance(document.get("data"), list) else rows_of_columns(document, name)
    if not isinstance(rows, list):
        raise DataError(
            f'{name}: expected a list of objects, {{"data": [...]}} or {{"question": [...], "answer": [...]}}; one '
            "object a line is .jsonl"
        )
    return (_row(row, f"{name}, item {number}") for number, row in enumerate(rows, start=1))


def _rows_of_csv(text: str, name: str, delimiters: str = ",;\t|") -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a document in a cell is data, too
    delimiter = _delimiter_of(text, delimiters)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        where = f"{name}, line {reader.line_num + 1}"
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{where}: no valid CSV ({error}); mend its quotes or convert it to .jsonl") from error
        if record is None:
            return
        if record and not header:
            header = _header(record, where)
        elif record and len(record) != len(header):
            raise DataError(f"{where}: {len(record)} fields under {len(header)} columns; quote fields that hold commas")
        elif record:
            yield Row(where, {name: value for name, value in zip(header, record, strict=True) if name})


def _delimiter_of(text: str, delimiters: str) -> str:
    """The first of these that makes several columns of the first line: Excel writes `;` where `,` is for decimals."""
    first = next((line for line in text[:_FIRST_LINE].splitlines() if line.strip()), "")
    return next((mark for mark in delimiters if len(next(csv.reader([first], delimiter=mark), [])) > 1), delimiters[0])


def _header(record: list[str], where: str) -> list[str]:
    """The names of the columns; one at the edge without a name is an index or a trailing separator, and has none."""
    record = [name.strip() for name in record]
    inner = [name for at, name in enumerate(record) if name or at not in (0, len(record) - 1)]
    if len(set(inner)) != len(inner) or not inner or not all(inner):
        raise DataError(f"{where}: the first line must name every column once, got {', '.join(record) or 'nothing'}")
    return record


def _table_rows(path: Path, what: str, batches: Callable[[Any], Iterator[Any]]) -> Iterator[Row]:
    try:
        arrow = import_module("pyarrow")  # an extra, and heavy
    except ImportError as error:
        raise MissingExtraError(NEEDED.format(what=f"reading {path.name}", package="pyarrow")) from error
    try:
        with _opened(path) as file:  # what is compressed is unpacked in memory, as readers go back and forth
            number = itertools.count(1)
            for batch in batches(io.BytesIO(file.read()) if path.suffix.lower() in _COMPRESSED else file):
                names = batch.schema.names
                if twice := sorted({column for column in names if names.count(column) > 1}):
                    told = ", ".join(twice)
                    raise DataError(f"{path.name}: several columns are named {told}; give every column its own name")
                for values in batch.to_pylist():
                    yield Row(f"{path.name}, row {next(number)}", values)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: no readable {what} ({first_line(error)}); write the file anew") from error


def _parquet_batches(source: Any) -> Iterator[Any]:
    with import_module("pyarrow.parquet").ParquetFile(source) as file:
        yield from file.iter_batches()


def _arrow_batches(source: Any) -> Iterator[Any]:
    """Of the streaming format, which `datasets` writes, or of the one for files."""
    arrow = import_module("pyarrow")
    try:
        yield from arrow.ipc.open_stream(source)
    except arrow.ArrowInvalid:
        source.seek(0)
        file = arrow.ipc.open_file(source)
        yield from (file.get_batch(at) for at in range(file.num_record_batches))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file, or what is compressed in it."""
    with _unpacking(path.name), _COMPRESSED.get(path.suffix.lower(), open)(path, "rb") as file:
        yield file


@contextmanager
def _unpacking(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{name}: it cannot be read ({error.strerror}); check the file and your rights") from error
        kind = {".bz2": "bzip2", ".xz": "xz"}.get(Path(name).suffix.lower(), "gzip")
        raise DataError(f"{name}: no readable {kind} file ({first_line(error)}); compress it anew") from error


def _row(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f'{where}: a row must be a JSON object such as {{"question": "...", "answer": "..."}}')
    return Row(where, value)


def _text_of(path: Path) -> str:
    with _opened(path) as file:
        return _decoded(file.read(), path.name)


def _decoded(raw: bytes, name: str, line: int = 1) -> str:
    """The text of a whole file, or of one of its lines; one whose beginning is that of something else is refused."""
    if line == 1:
        found = next((told for beginning, told in _BEGINNINGS.items() if raw.startswith(beginning)), None)
        found = found or (_UTF_16 if b"\0" in raw[:2] else None)  # without a mark before it
        if found is not None:
            raise DataError(f"{name}: this is no text but {found}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        raise DataError(f"{name}, line {line}: the text is not UTF-8; save the file as UTF-8") from error


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        of_a_line = "line" in where
        place = f"column {error.colno}" if of_a_line else f"line {error.lineno}, column {error.colno}"
        several = error.msg == "Extra data" and error.lineno > 1
        hint = ", a line holds one whole object" if of_a_line else "; one object a line is .jsonl" if several else ""
        raise DataError(f"{where}: no valid JSON at {place} ({error.msg}); mend it or take it out{hint}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise DataError(f"{where}: this JSON cannot be read ({error})") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys must be different: of two values one would be lost."""
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return made


def first_line(error: Exception) -> str:
    """What an error says, without the rest."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def whole_of(split: str) -> str:
    """The split that a part is of: `train` for `train[:100]`; empty for `[:100]`."""
    return split.partition("[")[0]


def is_part(split: str) -> bool:
    """Whether it names rows only, and no split."""
    return not whole_of(split) and _PART.fullmatch(split) is not None


def has_end(split: str) -> bool:
    """Whether it takes rows up to one that is counted from the first, so that later ones need not be read."""
    match = _PART.fullmatch(split)
    return match is not None and match[3].isdigit() and not match[2].startswith("-") and "%" not in split


def part_of(rows: Iterator[Row], split: str | None) -> Iterator[Row]:
    """The rows that a split takes of all that it is of.

    Raises:
        DataError: They are not written as numbers.
    """
    if split is None or "[" not in split:
        return rows
    match = _PART.fullmatch(split)
    if match is None:
        raise DataError(f"split={split!r} cannot be taken; write rows as numbers, e.g. [:100], [100:200] or [:10%]")
    if "%" in split or "-" in "".join(filter(None, match.groups()[1:])):
        known = list(rows)
        return iter(known[slice(*(_position(number, len(known)) for number in match.groups()[1:]))])
    first, last = (_position(number, 0) for number in match.groups()[1:])
    return islice(rows, first, last)


def _position(number: str, size: int) -> int | None:
    """Of a slice: `10%` is the row nearest to that share, as for `datasets`."""
    if not number:
        return None
    return round(int(number[:-1]) * size / 100) if number.endswith("%") else int(number)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".json": lambda path: _rows_of_document(_loads(_text_of(path), path.name), path.name),
    ".csv": lambda path: _rows_of_csv(_text_of(path), path.name),
    ".tsv": lambda path: _rows_of_csv(_text_of(path), path.name, "\t"),
    ".parquet": partial(_table_rows, what="Parquet", batches=_parquet_batches),
    ".arrow": partial(_table_rows, what="Arrow file", batches=_arrow_batches),
}
