"""Rows of a dataset, each with the place it comes from; what cannot be read is reported by file and line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tfgrpo_dspy.errors import DataError, MissingExtraError, SettingsError


class Row(NamedTuple):
    """A row and where it stands."""

    where: str
    """For messages, e.g. `train.jsonl, line 17`."""
    values: Mapping[str, Any]


def read_rows(source: str, *, split: str | None = None, limit: int | None = None) -> Iterator[Row]:
    """The rows of a file or of a Hub dataset, in order.

    Args:
        source: Path of a .jsonl, .json, .csv or .parquet file, or a dataset id (`owner/name` or `owner/name:config`).
        split: Split of a Hub dataset; None for its only one.
        limit: Rows wanted at most, to spare the Hub more; text files are read as far as the iterator is.

    Raises:
        DataError: See `tfgrpo_dspy.data.examples.load_examples`.
        SettingsError: A split of a file.
        MissingExtraError: Parquet or the Hub without the extra `datasets`.
    """
    path = Path(source)
    reader = _READERS.get(path.suffix.lower())
    if reader is None and not path.exists() and _HUB_ID.fullmatch(source):
        return _hub_rows(source, split, limit)
    if reader is None:
        raise DataError(f"{source}: examples are read from .jsonl, .json, .csv and .parquet files or by a dataset id")
    if split is not None:
        raise SettingsError(f"split={split!r} says nothing about a file; leave it out for {path.name}")
    if not path.is_file():
        raise DataError(f"{source}: there is no such file; check the path (it is relative to {Path.cwd()})")
    return reader(path)


_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?(?::[\w.-]+)?")
_NEEDED = "{what} needs the package {package}: pip install 'tfgrpo-dspy[datasets]'"


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path.name}, line {number}"
            text = _decode(line, where)
            if text.strip():
                yield _row(_loads(text, where), where)


def _json_rows(path: Path) -> Iterator[Row]:
    document = _loads(_decode_file(path), path.name)
    rows = document.get("data") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise DataError(f'{path.name}: expected a list of objects or {{"data": [...]}}; one object a line is .jsonl')
    return (_row(row, f"{path.name}, item {number}") for number, row in enumerate(rows, start=1))


def _csv_rows(path: Path) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_decode_file(path), newline=""), strict=True)
    header: list[str] = []
    while True:
        where = f"{path.name}, line {reader.line_num + 1}"
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{where}: no valid CSV ({error}); mend its quotes or convert it to .jsonl") from error
        if record is None:
            return
        if not header:
            header = _header(record, where)
        elif record:
            yield _record(header, record, where)


def _header(record: list[str], where: str) -> list[str]:
    if len(set(record)) != len(record) or not all(name.strip() for name in record):
        raise DataError(f"{where}: the first line must name every column once, got {', '.join(record) or 'nothing'}")
    return record


def _record(header: list[str], record: list[str], where: str) -> Row:
    if len(record) != len(header):
        raise DataError(f"{where}: {len(record)} fields under {len(header)} columns; quote fields that hold commas")
    return Row(where, dict(zip(header, record, strict=True)))


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")  # an extra, and heavy
    except ImportError as error:
        raise MissingExtraError(_NEEDED.format(what=f"reading {path.name}", package="pyarrow")) from error
    try:
        with parquet.ParquetFile(path) as file:
            rows = chain.from_iterable(batch.to_pylist() for batch in file.iter_batches())
            for number, values in enumerate(rows, start=1):
                yield Row(f"{path.name}, row {number}", values)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: no readable Parquet ({_first_line(error)}); write the file anew") from error


def _hub_rows(source: str, split: str | None, limit: int | None) -> Iterator[Row]:
    try:
        import datasets  # an extra, and heavy
    except ImportError as error:
        raise MissingExtraError(_NEEDED.format(what=f"loading {source} from the Hub", package="datasets")) from error
    name, _, config = source.partition(":")
    try:
        splits = datasets.get_dataset_split_names(name, config or None)
        chosen = _split(source, split, splits)
        data = datasets.load_dataset(name, config or None, split=chosen)
    except DataError:
        raise
    except (OSError, ValueError) as error:  # not found, offline, gated, or a configuration is missing
        raise DataError(
            f"{source}: no such file, and it could not be loaded from the Hugging Face Hub ({_first_line(error)}); "
            "check the id (`owner/name:config`), the network and your access, or give a file"
        ) from error
    data = data.select(range(min(limit, len(data)))) if limit is not None else data
    return (Row(f"{source}, {chosen}, row {number}", values) for number, values in enumerate(data, start=1))


def _split(source: str, split: str | None, splits: list[str]) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split in splits:
        return str(split)
    raise DataError(f"{source}: choose one of its splits with split=..., they are {', '.join(splits)}; got {split}")


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}


def _row(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f'{where}: a row must be a JSON object such as {{"question": "...", "answer": "..."}}')
    return Row(where, value)


def _decode_file(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path.name}, line {line}: the text is not UTF-8; save the file as UTF-8") from error


def _decode(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: the text is not UTF-8; save the file as UTF-8") from error


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if "line" in where else f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{where}: no valid JSON at {place} ({error.msg}); mend it or take it out") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise DataError(f"{where}: this JSON cannot be read ({error})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
