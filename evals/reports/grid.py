"""A table of texts, which every format of a report can show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    tones: tuple[str, ...] = ()
    """`good`, `bad` or nothing for each row."""
