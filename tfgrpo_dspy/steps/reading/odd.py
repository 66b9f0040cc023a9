"""What of a reply could not be read, as a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Odd:
    """A part of a reply that cannot be taken for what was asked."""

    why: str
    """A plain sentence that the model may be shown: a weak one copies field paths and error codes."""
    raw: str = ""
    """As it was written."""


BROKE_OFF = "The reply broke off before its end; answer more briefly."
REPEATS = "The reply repeats itself and does not come to an end; say it once, and briefly."
