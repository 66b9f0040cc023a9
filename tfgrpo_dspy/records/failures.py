"""What went wrong in reflection, and what was done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Cause: TypeAlias = Literal["reply", "endpoint", "budget"]
"""Why something could not be had: no reply could be used, none came, or nothing more was allowed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something of a run that could not be done; never silent, never a zero."""

    stage: Literal["summary", "extraction", "update"]
    where: str
    """The rollout (`s1/e12/r0`), group (`s1/e12`) or step (`s1`) concerned."""
    reason: str
    remedy: str
    """What was done instead, e.g. "the shortened trajectory was used" or "carried to the next step"."""
    cause: Cause = "reply"

    @property
    def is_error(self) -> bool:
        """False when it was not attempted, because the budget allowed nothing more."""
        return self.cause != "budget"


def are_final(failures: Sequence[Failure]) -> bool:
    """Whether asking again would come to the same: what never was answered is no result."""
    return all(failure.cause == "reply" for failure in failures)


def failures_of(where: str, whys: Sequence[tuple[Cause, str]], remedy: str) -> tuple[Failure, ...]:
    """The failures of an update, one for each cause with all its reasons.

    Args:
        where: The step.
        whys: Why something could not be had, any number of times.
        remedy: What was done instead.
    """
    reasons: dict[Cause, list[str]] = {}
    for cause, why in dict.fromkeys(whys):
        reasons.setdefault(cause, []).append(why)
    return tuple(Failure("update", where, "; ".join(said), remedy, cause) for cause, said in reasons.items())
