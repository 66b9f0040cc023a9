"""What became of every candidate experience that an extraction gave: exactly one fate each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Became = Literal["added", "merged", "said already", "corrected", "refused", "carried"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one candidate."""

    group: str
    """Name of the group that gave it, e.g. `s1/e12`."""
    text: str
    became: Became
    """`added` as an entry of its own; `merged` into an entry; `said already` by one; `corrected`: an entry that it
    shows to be wrong was rewritten or taken out; `refused`; `carried` to the next step."""
    id: str | None = None
    """The entry concerned, if one is."""
    why: str = ""
