"""A part of the rows of a split: `train[:100]`, `[100:200]`, `test[-10:]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from tfgrpo_dspy.data.files import Row
from tfgrpo_dspy.errors import DataError

_PART = re.compile(r"([\w.-]+)?\[(-?\d*):(-?\d*)\]")


def whole_of(split: str) -> str:
    """The split that a part is of: `train` for `train[:100]`; empty for `[:100]`."""
    return split.partition("[")[0]


def is_part(split: str) -> bool:
    """Whether it names rows only, and no split."""
    return not whole_of(split) and _PART.fullmatch(split) is not None


def has_end(split: str) -> bool:
    """Whether it takes rows up to one that is counted from the first, so that later ones need not be read."""
    match = _PART.fullmatch(split)
    return match is not None and match[3].isdigit() and not match[2].startswith("-")


def part_of(rows: Iterator[Row], split: str | None) -> Iterator[Row]:
    """The rows that a split takes of all that it is of.

    Raises:
        DataError: They are not written as numbers.
    """
    if split is None or "[" not in split:
        return rows
    match = _PART.fullmatch(split)
    if match is None:
        raise DataError(f"split={split!r} cannot be taken of files; write rows as numbers, e.g. [:100] or [100:200]")
    first, last = (int(number) if number else None for number in match.groups()[1:])
    if (first or 0) < 0 or (last or 0) < 0:
        return iter(list(rows)[first:last])
    return islice(rows, first, last)
