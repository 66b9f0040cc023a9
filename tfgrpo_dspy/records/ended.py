"""How a run ended: one of eight ways, each a sentence of its own wherever a run is told of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tfgrpo_dspy.looks.look import Look
from tfgrpo_dspy.looks.value import Shown
from tfgrpo_dspy.text import one_line

How: TypeAlias = Literal["done", "limit", "patience", "outage", "disk", "interrupted", "review", "error"]

_STATES: dict[How, str] = {
    "done": "done",
    "limit": "stopped by a limit",
    "patience": "out of patience",
    "outage": "the endpoint was away",
    "disk": "the disk took no more",
    "interrupted": "interrupted",
    "review": "waiting for review",
    "error": "stopped by an error",
}
_MENDING: dict[How, str] = {
    "limit": "To go on, raise the limit and run the same again",
    "patience": "To go on, allow more of it, and that change, and run the same again",
    "outage": "To go on once it is back, run the same again",
    "disk": "To go on once it can be written, run the same again",
    "interrupted": "To go on, run the same again",
    "review": "To go on, decide and run the same again",
    "error": "To go on once that is mended, run the same again",
}


@dataclass(frozen=True, slots=True, repr=False)
class Ended(Shown):
    """How a run ended."""

    how: How = "done"
    """In good order by `limit`, `patience`, `outage`, `disk`; `interrupted` by a person; `review` until one decides."""
    why: str = ""
    """The limit with its figures, or the error; empty where there is nothing to add."""
    after: int = 0
    """Steps that were finished."""
    planned: int = 0
    """Steps that were to be."""
    left: str = ""
    """What it would have done next."""
    kept: str = ""
    """What the next process takes up, and where it is; empty where nothing is kept."""

    @property
    def state(self) -> str:
        """In a word or two, for a column."""
        return _STATES[self.how]

    @property
    def is_whole(self) -> bool:
        """Whether all was done that was to be done."""
        return self.how == "done"

    @property
    def is_in_order(self) -> bool:
        """Whether it came to an end of its own, and returned a program."""
        return self.how in {"done", "limit", "patience", "outage", "disk"}

    @property
    def sentence(self) -> str:
        """What is said first, without a full stop."""
        if self.is_whole:
            return "Done"
        stopped = f"Stopped by {one_line(self.why).partition(':')[0]}" if self.how in {"limit", "patience"} else ""
        reached = f"after step {self.after}" if self.after else "before the end of step 1"
        return f"{stopped or self.state[0].upper() + self.state[1:]} {reached} of {self.planned}"

    def details(self, command: str = "") -> list[str]:
        """What is to be known besides, a sentence each.

        Args:
            command: What goes on with the run; empty where that is a call in Python, or nothing is kept.
        """
        if self.is_whole:
            return []
        why = one_line(self.why).rstrip(".")
        told = [f"{part}." for part in (why, self.left and f"Not done: {self.left}") if part]
        if self.kept:
            told.append(f"Kept: {self.kept}.")
            told.append(f"{_MENDING[self.how]}: {command}" if command else f"{_MENDING[self.how]}.")
        return told

    def look(self) -> Look:
        """All of it."""
        return Look(self.sentence, tuple(self.details()))
