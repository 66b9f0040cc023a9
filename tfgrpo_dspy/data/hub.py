"""Rows through the package `datasets`: of the Hugging Face Hub, of addresses, of what `save_to_disk` left."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tfgrpo_dspy.data.files import NEEDED, Row, first_line, has_end, part_of, whole_of
from tfgrpo_dspy.errors import DataError, MissingExtraError

_FORMATS = {"jsonl": "json", "json": "json", "csv": "csv", "tsv": "csv", "parquet": "parquet", "arrow": "arrow"}


def hub_rows(source: str, split: str | None, limit: int | None) -> Iterator[Row]:
    """Rows of a dataset of the Hub; where they have an end only so many are fetched."""
    datasets = _package(f"loading {source} from the Hub")
    named, _, revision = source.partition("@")
    name, _, config = named.partition(":")
    pinned = {"revision": revision} if revision else {}
    said = (
        "no such file, and it could not be loaded from the Hugging Face Hub ({}); check the id (`owner/name:config`), "
        "the network and your access, or give a file"
    )
    with _errors(source, said):
        splits = datasets.get_dataset_split_names(name, config or None, **pinned)
    chosen = _split(source, split, splits)
    load = partial(datasets.load_dataset, name, config or None, **pinned)
    return _loaded(source, said, chosen, limit, load)


def address_rows(source: str, split: str | None, limit: int | None) -> Iterator[Row]:
    """Rows of a file at an address, `hf://datasets/owner/name/train.parquet` or `https://...`."""
    datasets = _package(f"reading {source}")
    path = re.split(r"[?#]", source)[0].lower()
    suffix = next((part for part in reversed(path.split(".")) if part in _FORMATS), None)
    if suffix is None:
        raise DataError(f"{source}: the address must end like a file: {', '.join(f'.{name}' for name in _FORMATS)}")
    more: dict[str, Any] = {"delimiter": "\t"} if suffix == "tsv" else {}
    chosen = split if split is not None and not split.startswith("[") else f"train{split or ''}"
    said = "it could not be read ({}); check address, access and what the file holds"
    load = partial(datasets.load_dataset, _FORMATS[suffix], data_files=source, **more)
    return _loaded(source, said, chosen, limit, load)


def _loaded(source: str, said: str, split: str, limit: int | None, load: Callable[..., Any]) -> Iterator[Row]:
    """Rows that `load_dataset` gives; streamed where their number has an end, so that what comes after is not fetched.

    In `said`, for people, an error takes the place of `{}`.
    """
    streamed = has_end(split) or (limit is not None and "[" not in split)
    taken = {"split": whole_of(split), "streaming": True} if streamed else {"split": split}
    with _errors(source, said):
        rows = iter(load(**taken))
        numbered = (Row(f"{source}, {split}, row {number}", values) for number, values in enumerate(rows, start=1))
        yield from part_of(numbered, split if streamed else None)


@contextmanager
def _errors(source: str, said: str) -> Iterator[None]:
    """What the package raises, as one sentence: not found, offline, gated, rows that cannot be read."""
    known = getattr(import_module("datasets"), "exceptions", None)
    of_datasets = [known.DatasetsError] if known is not None else []
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, ImportError, *of_datasets) as error:
        raise DataError(f"{source}: {said.format(first_line(error.__cause__ or error))}") from error


def saved_rows(folder: Path, split: str | None) -> Iterator[Row]:
    """Rows of what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` left."""
    datasets = _package(f"reading {folder}")
    try:
        data = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no readable dataset ({first_line(error)}); save it anew") from error
    if isinstance(data, dict):
        chosen = _split(str(folder), split, list(data))
        data = data[whole_of(chosen)]
    rows = (Row(f"{folder.name}, row {number}", values) for number, values in enumerate(data, start=1))
    return part_of(rows, split)


def _package(what: str) -> Any:
    try:
        return import_module("datasets")  # an extra, and heavy
    except ImportError as error:
        raise MissingExtraError(NEEDED.format(what=what, package="datasets")) from error


def _split(source: str, split: str | None, splits: list[str]) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split is not None and whole_of(split) in splits:
        return split
    raise DataError(f"{source}: choose one of its splits with split=..., they are {', '.join(splits)}; got {split}")
