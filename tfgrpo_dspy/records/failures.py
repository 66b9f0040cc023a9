"""What went wrong in reflection, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Failure:
    """Something of a run that could not be done; never silent, never a zero."""

    stage: Literal["summary", "extraction", "update"]
    where: str
    """The rollout (`s1/e12/r0`), group (`s1/e12`) or step (`s1`) concerned."""
    reason: str
    remedy: str
    """What was done instead, e.g. "the shortened trajectory was used" or "carried to the next step"."""
    is_error: bool = True
    """False when it was not attempted, because the budget allowed nothing more."""
