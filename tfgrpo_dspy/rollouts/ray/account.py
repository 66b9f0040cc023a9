"""The account of a run, as its workers see it: each call is asked for, and what it took is told."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias

from tfgrpo_dspy.lm.account import Claim, Reservation, Spending
from tfgrpo_dspy.lm.budget import Budget, Due, Kind, OutOfBudget, Reason
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.runtime.executor import Pace

Tell: TypeAlias = Callable[..., None]
"""Tells the run something: the name of a method of `cluster.Inbox`, and what that is handed."""

ROLLOUT: ContextVar[int] = ContextVar("tfgrpo_rollout", default=0)
"""The rollout that the present thread or task works for; 0 where it knows of none."""
_PATIENCE = 10.0
"""Seconds in which a second request for a slow one has to be allowed; else there is none."""
_numbers = itertools.count(1)


class Leased(Spending):
    """Reservations that are lent by the run's own account; of the budget, only the prices matter here."""

    def __init__(self, budget: Budget | None, tell: Tell) -> None:
        super().__init__(budget)
        self._tell = tell
        self._asked: dict[tuple[object, Claim], int] = {}
        self._answers: dict[int, str | None] = {}

    def answer(self, number: int, refusal: str | None) -> None:
        """The run allows a call, or says why not."""
        with self._lock:
            self._answers[number] = refusal
            wake = self._waiting.pop(number, None)
        if wake is not None:
            wake()

    def reserve(self, claim: Claim, *, is_needed: bool = True) -> Reservation | None:  # noqa: D102
        answered = threading.Event()
        ask = partial(self._ask, is_needed, claim, object(), answered.set)
        return ask() or (ask() if answered.wait(_PATIENCE) else None)

    def reserve_or_wake(self, claim: Claim, owner: object, wake: Callable[[], None]) -> Reservation | None:  # noqa: D102
        return self._ask(True, claim, owner, wake)

    def _ask(self, is_needed: bool, claim: Claim, owner: object, wake: Callable[[], None]) -> Reservation | None:
        with self._lock:
            if self._stopped is not None:
                raise OutOfBudget(self._stopped)
            number = self._asked.get((owner, claim))
            if number is None:
                self._asked[owner, claim] = number = next(_numbers)
                self._tell("lend", number, ROLLOUT.get(), hash(owner), claim, is_needed)
            if number not in self._answers:
                self._waiting[number] = wake
                return None
            del self._asked[owner, claim]
            if (refusal := self._answers.pop(number)) is not None:
                self.refusal = self.refusal or (Reason(refusal) if is_needed else None)
                raise OutOfBudget(refusal)
            reservation = Reservation(claim, 0, 0.0, number)
            self._flying[id(reservation)] = reservation
            return reservation

    def settle(self, reservation: Reservation, **took: Any) -> None:  # noqa: D102
        self._give_back(reservation, "settle", took)

    def charge(self, reservation: Reservation) -> None:  # noqa: D102
        self._give_back(reservation, "charge", {})

    def release(self, reservation: Reservation) -> None:  # noqa: D102
        self._give_back(reservation, "release", {})

    def _give_back(self, reservation: Reservation, how: str, took: dict[str, Any]) -> None:
        with self._lock:
            if self._flying.pop(id(reservation), None) is not None:
                self._tell("take_back", reservation.owner, how, took)


class MeterThere(Meter):
    """The meter of a worker: pace and patience of its own, and the account of the run."""

    def __init__(self, pace: Pace, tell: Tell) -> None:
        limits = pace._asdict()
        budget, most = limits.pop("budget"), limits.pop("num_threads")
        super().__init__(most=most, **limits)
        self._tell = tell
        self.spending = self.leased = Leased(budget, tell)

    def begin(self) -> None:
        """The run watches its seconds itself."""

    def stop(self, reason: str, grace: float | None = None) -> None:
        """End the run, for what was found out here."""
        self._tell("stop", reason)
        self.end(reason)

    def end(self, reason: str) -> None:
        """The run has ended: nothing new starts."""
        super().stop(reason)

    def kept_from(self, kind: Kind, due: Due | None) -> int:
        """Nothing that is known here: the run adds it."""
        return 0
