"""What was read of a reply, and what could not be, as a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tfgrpo_dspy.library.operations import Operation


@dataclass(frozen=True, slots=True)
class Odd:
    """A part of a reply that cannot be taken for what was asked."""

    why: str
    """A plain sentence that the model may be shown: a weak one copies field paths and error codes."""
    raw: str = ""
    """As it was written."""


class Items(NamedTuple):
    """What was read of a list of operations."""

    operations: tuple[Operation, ...] = ()
    odd: tuple[Odd, ...] = ()
    """Items that cannot be taken for an operation."""
    is_whole: bool = True
    """False if the list broke off."""


BROKE_OFF = "The reply broke off before its end; answer more briefly."
REPEATS = "The reply repeats itself and does not come to an end; say it once, and briefly."
