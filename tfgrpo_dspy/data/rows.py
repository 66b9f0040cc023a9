"""Rows from wherever people keep them: files, folders of shards, standard input, the Hub, and values in Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from glob import glob
from itertools import chain
from pathlib import Path
from typing import Any

from tfgrpo_dspy.data.files import (
    STDIN,
    Row,
    is_packed,
    is_part,
    part_of,
    piped_rows,
    reader_of,
    rows_of_columns,
    stdin_rows,
    whole_of,
)
from tfgrpo_dspy.errors import DataError, SettingsError

FORMATS = ".jsonl, .json, .csv, .tsv, .parquet and .arrow files (also as .gz, .bz2 or .xz)"
_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")
"""What `save_to_disk` leaves in a folder."""
_SPLITS = ("train", "validation", "valid", "val", "dev", "test", "eval")


def read_rows(source: Any, *, split: str | None = None, limit: int | None = None) -> Iterator[Row]:
    """The rows of a source, in order.

    Args:
        source: Path of a file, of a folder of shards or of a `save_to_disk` folder, a pattern such as
            `data/train-*.parquet`, `-` for standard input, a dataset id (`owner/name:config@revision`), an address
            (`hf://`, `https://`); or rows in Python: mappings, Examples, a `datasets.Dataset`, a `DataFrame`.
        split: Split of a dataset or of a folder, also a part of it (`train[:100]`, `train[:10%]`) or several
            (`train+test`); None for the only one.
        limit: Rows wanted at most, to spare the Hub more; text files are read as far as the iterator is.

    Raises:
        DataError: See `tfgrpo_dspy.data.examples.load_examples`.
        SettingsError: A split of a file.
        MissingExtraError: A format or a place that needs the extra `datasets`, without it.
    """
    if split is not None and "+" in split:
        return chain.from_iterable(read_rows(source, split=part, limit=limit) for part in split.split("+"))
    if not isinstance(source, str | Path):
        return _rows_in_python(source, split)
    if not str(source).strip():
        raise DataError("the source of the examples is empty; give a file, a folder, a dataset id or -")
    text, path = str(source), Path(source).expanduser()
    if text == STDIN:
        _check_part("standard input", split)
        return part_of(stdin_rows(), split)
    if path.is_dir():
        return _folder_rows(path, split, limit)
    if "://" in text:
        return _hub(text, split, limit)
    if any(mark in text for mark in "*?") and (found := sorted(map(Path, glob(text, recursive=True)))):
        return part_of(_chained(found), split)
    return _file_rows(text, path, split, limit)


def _file_rows(source: str, path: Path, split: str | None, limit: int | None) -> Iterator[Row]:
    reader = reader_of(path.name)
    if path.is_fifo() or path.is_char_device():
        _check_part(source, split)
        return part_of(piped_rows(path.read_bytes(), source), split)
    if reader is None and not path.exists() and _HUB_ID.fullmatch(source):
        return _hub(source, split, limit)
    if reader is None:
        unpacked = "; unpack it first" if is_packed(path.name) else ""
        told = f"examples are read from {FORMATS}, from folders of these, or by a dataset id"
        raise DataError(f"{source}: {told}{unpacked}")
    _check_part(path.name, split)
    if not path.is_file():
        raise DataError(f"{source}: there is no such file; check the path (it is relative to {Path.cwd()})")
    return part_of(reader(path), split)


def _check_part(name: str, split: str | None) -> None:
    if split is not None and not is_part(split):
        raise SettingsError(
            f"split={split!r} says nothing about {name}, which has none; leave it out, or take a part: [:100]"
        )


_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?(?::[\w.-]+)?(?:@[\w./-]+)?")


def _hub(source: str, split: str | None, limit: int | None) -> Iterator[Row]:
    from tfgrpo_dspy.data.hub import address_rows, hub_rows

    return address_rows(source, split, limit) if "://" in source else hub_rows(source, split, limit)


def _folder_rows(folder: Path, split: str | None, limit: int | None) -> Iterator[Row]:
    """Of a `save_to_disk` folder, or of the shards below it whose names say that they are of the split."""
    if any((folder / name).is_file() for name in _SAVED):
        from tfgrpo_dspy.data.hub import saved_rows

        return saved_rows(folder, split)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path.relative_to(folder))]
    if packed := [path.name for path in files if is_packed(path.name)]:
        raise DataError(f"{folder}: {', '.join(packed)} cannot be read; unpack it first, or move it out of the folder")
    shards = [path for path in files if reader_of(path.name) is not None]
    if not shards:
        raise DataError(f"{folder}: there is nothing to read in this folder; examples are read from {FORMATS}")
    by_split: dict[str, list[Path]] = {}
    for path in shards:
        # The split that a file's name or its folder's names; empty for none.
        words = [
            word for part in reversed(path.relative_to(folder).parts) for word in re.split(r"[^a-z]+", part.lower())
        ]
        by_split.setdefault(next((word for word in words if word in _SPLITS), ""), []).append(path)
    name = whole_of(split or "") or (next(iter(by_split)) if len(by_split) == 1 else None)
    if name not in by_split:
        known = ", ".join(filter(None, by_split)) or "none that file names tell"
        others = ", ".join(path.name for path in by_split.get("", ()))
        more = f"; of no split: {others}, which a pattern such as {folder}/*.jsonl may take" if others else ""
        raise DataError(f"{folder}: choose one of its splits with split=..., they are {known}; got {split}{more}")
    return part_of(_chained(by_split[name]), split)


def _is_hidden(path: Path) -> bool:
    """Whether it is a file of a system or an editor, as `.ipynb_checkpoints` and `__MACOSX` hold them."""
    return any(part.startswith((".", "__")) for part in path.parts)


def _chained(paths: Sequence[Path]) -> Iterator[Row]:
    for path in paths:
        reader = reader_of(path.name)
        if reader is None:
            raise DataError(f"{path}: examples are read from {FORMATS}")
        yield from reader(path)


def _rows_in_python(source: Any, split: str | None) -> Iterator[Row]:
    """Rows of a `DataFrame`, a `datasets.Dataset`, or any iterable of mappings or Examples."""
    if hasattr(source, "to_dict") and hasattr(source, "columns"):  # a DataFrame, of pandas or polars
        source = _records_of(source)
    if isinstance(source, Mapping) and source and all(hasattr(one, "column_names") for one in source.values()):
        asked = whole_of(split or "")
        name = asked or (next(iter(source)) if len(source) == 1 else None)
        if name not in source:
            splits = ", ".join(map(str, source))
            raise DataError(f"this is a dataset of several splits; choose one with split=..., they are {splits}")
        source, split = source[name], (split or "").removeprefix(asked) or None
    if isinstance(source, Mapping):
        columns = {name: cells.tolist() if hasattr(cells, "tolist") else cells for name, cells in source.items()}
        source = rows_of_columns(columns, "the columns given") or source
    _check_part("rows in Python", split)
    if callable(plain := getattr(source, "with_format", None)):
        source = plain(None)  # rows of plain values, whatever it gives its user
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise DataError(
            f"examples cannot be made of a {type(source).__name__}; give a path, a dataset id, or rows: a list of "
            "mappings, a datasets.Dataset, a DataFrame"
        )
    return part_of(_rows_of_values(source), split)


def _records_of(frame: Any) -> list[dict[str, Any]]:
    """The rows of a `DataFrame`; a cell without a value is None, whatever pandas calls it there."""
    if not hasattr(frame, "iterrows"):
        records: list[dict[str, Any]] = frame.to_dicts()
        return records
    if named := [name for name in frame.index.names if name is not None and name not in frame.columns]:
        frame = frame.reset_index(level=named)
    names = [".".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"the DataFrame has several columns named {', '.join(twice)}; give every column its own name")
    known = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(names, row, strict=True)) for row in known.itertuples(index=False, name=None)]


def _rows_of_values(source: Iterable[Any]) -> Iterator[Row]:
    for number, value in enumerate(source, start=1):
        values = _as_mapping(value)
        if not isinstance(values, Mapping):
            raise DataError(
                f"row {number} is a {type(value).__name__}; a row maps the name of each column to its value"
            )
        inputs = getattr(value, "_input_keys", None)  # of an Example, whose `inputs()` raises without them
        told = None if inputs is None else tuple(name for name in values if name in inputs)
        yield Row(f"row {number}", {str(name): cell for name, cell in values.items()}, told)


def _as_mapping(value: Any) -> Any:
    """A row as a mapping, if it is an Example, a model of pydantic, a named tuple or a dataclass."""
    for name in ("toDict", "model_dump", "_asdict"):
        if callable(made := getattr(value, name, None)):
            return made()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
