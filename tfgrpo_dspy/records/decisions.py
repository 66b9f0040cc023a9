"""What a person is asked of a step's operations, and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.apply import By
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.records.advantages import Evidence


@dataclass(frozen=True, slots=True)
class Proposed:
    """An operation that waits for a decision."""

    step: int
    """Of a run, from 1; 0 for what no run proposed."""
    operation: Operation
    """Any but a Keep, which needs none."""
    before: str | None
    """Text of the experience that it would change or delete; None for an Add, and if there is no such experience."""
    evidence: tuple[Evidence, ...]
    """The groups it rests on."""
    by: By = "update"
    """What asks for it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a proposed operation.

    Raises:
        SettingsError: An edit without the operation to apply instead, or an operation without an edit.
    """

    verdict: Literal["accept", "refuse", "edit"]
    reason: str = ""
    """Why it was refused; recorded."""
    operation: Operation | None = None
    """For an edit: what to apply instead. Its text has the author "person"."""

    def __post_init__(self) -> None:
        if (self.verdict == "edit") != (self.operation is not None):
            raise SettingsError('a decision has an operation when its verdict is "edit", and only then')


Review = Callable[[ExperienceLibrary, Sequence[Proposed]], Sequence[Decision]]
"""Called in the thread that runs `compile`, with the library before the step and all that would change it; returns one
decision per proposed operation, in order. To end the run at this point, in good order, it raises `ReviewStop`."""
