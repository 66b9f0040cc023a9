"""Rows through the package `datasets`: of the Hugging Face Hub, of addresses, of what `save_to_disk` left."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tfgrpo_dspy.data.files import NEEDED, Row, first_line
from tfgrpo_dspy.data.parts import part_of, whole_of
from tfgrpo_dspy.errors import DataError, MissingExtraError

_FORMATS = {"jsonl": "json", "json": "json", "csv": "csv", "tsv": "csv", "parquet": "parquet", "arrow": "arrow"}


def hub_rows(source: str, split: str | None, limit: int | None) -> Iterator[Row]:
    """Rows of a dataset of the Hub; with a limit only so many are fetched.

    Args:
        source: `owner/name`, `owner/name:configuration`, each with `@revision` behind it or not.
        split: E.g. `test` or `train[:100]`; None for the only one.
        limit: Rows wanted at most.
    """
    datasets = _package(f"loading {source} from the Hub")
    named, _, revision = source.partition("@")
    name, _, config = named.partition(":")
    pinned = {"revision": revision} if revision else {}
    try:
        splits = datasets.get_dataset_split_names(name, config or None, **pinned)
        chosen = _split(source, split, splits)
        streamed = {"streaming": True} if limit is not None and "[" not in chosen else {}
        data = datasets.load_dataset(name, config or None, split=chosen, **pinned, **streamed)
    except (OSError, ValueError) as error:  # not found, offline, gated, or a configuration is missing
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{source}: no such file, and it could not be loaded from the Hugging Face Hub ({first_line(error)}); "
            "check the id (`owner/name:config`), the network and your access, or give a file"
        ) from error
    return (Row(f"{source}, {chosen}, row {number}", values) for number, values in enumerate(data, start=1))


def address_rows(source: str, split: str | None, limit: int | None) -> Iterator[Row]:
    """Rows of a file at an address, `hf://datasets/owner/name/train.parquet` or `https://...`."""
    datasets = _package(f"reading {source}")
    suffix = next((part for part in reversed(source.split(".")) if part in _FORMATS), None)
    if suffix is None:
        raise DataError(f"{source}: the address must end like a file: {', '.join(f'.{name}' for name in _FORMATS)}")
    options: dict[str, Any] = {"delimiter": "\t"} if suffix == "tsv" else {}
    try:
        chosen = split if split is None or not split.startswith("[") else f"train{split}"
        data = datasets.load_dataset(
            _FORMATS[suffix], data_files=source, split=chosen or "train", streaming=limit is not None, **options
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: it could not be read ({first_line(error)}); check address and access") from error
    return (Row(f"{source}, row {number}", values) for number, values in enumerate(data, start=1))


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
