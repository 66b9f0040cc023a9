"""One request at an endpoint, from its reservation to its account."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import dspy
from dspy.utils.exceptions import LMRateLimitError

from tfgrpo_dspy.meter import Meter
from tfgrpo_dspy.replies import cached_tokens_of, timed_out, tokens_of
from tfgrpo_dspy.spending import Reservation
from tfgrpo_dspy.usage import Usage


class Ticket:
    """One request: its reservation and its place among the calls in flight, both given back exactly once.

    A context manager: an error within is the request's.
    """

    def __init__(self, meter: Meter, lm: dspy.BaseLM, reservation: Reservation) -> None:
        self._meter, self._lm, self._reservation = meter, lm, reservation
        self._place: tuple[int, int] | None = None
        self._open = True
        self._started = 0.0
        self._lock = threading.Lock()

    @classmethod
    def reserve(cls, meter: Meter, lm: dspy.BaseLM, call: Any) -> Ticket:
        """Reserve for a call, waiting where that may help.

        Raises:
            OutOfBudget: It would exceed the budget.
        """
        return cls(meter, lm, meter.spending.reserve(meter.claim(lm, call)))

    @classmethod
    def try_reserve(cls, meter: Meter, lm: dspy.BaseLM, call: Any, *, is_needed: bool = True) -> Ticket | None:
        """`reserve` without waiting; None when it would have to."""
        reservation = meter.spending.try_reserve(meter.claim(lm, call), is_needed=is_needed)
        return None if reservation is None else cls(meter, lm, reservation)

    def depart(self, *, wait: bool = True) -> bool:
        """Take a place among the calls in flight; False if there is none and waiting is not wanted."""
        limiter = self._meter.limiter
        self._place = limiter.acquire() if wait else limiter.try_acquire()
        if self._place is None:
            return False
        self._started = time.monotonic()
        self._meter.sent()
        return True

    @property
    def pool(self) -> int:
        """Which of the connection pools to use."""
        return self._place[0] if self._place is not None else 0

    def answered(self, kind: tuple[str, str], result: Any) -> None:
        """The endpoint replied."""
        if not self._close():
            return
        seconds = time.monotonic() - self._started
        self._meter.latencies.add(kind, seconds)
        self._leave(refused=False)
        read, written = tokens_of(result)
        took = Usage(1, 0, read, written, result.cost, cached_tokens_of(result.usage))
        cost = result.cost = self._meter.cost_of(self._lm.model, took)
        self._meter.spending.settle(
            self._reservation, prompt_tokens=read, completion_tokens=written, cost_usd=cost or 0.0, seconds=seconds
        )
        self._meter.check_price(self._lm.model, cost)

    def failed(self, error: BaseException) -> None:
        """It did not, or it was given up."""
        if not self._close():
            return
        self._meter.failed(error)
        # An endpoint that is overloaded may also just fail or fall silent; only its word on the rate is taken for that.
        self._leave(refused=True if isinstance(error, LMRateLimitError) else None)
        if timed_out(error):
            self._meter.spending.charge(self._reservation)
        else:
            self._meter.spending.settle(self._reservation)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            self.failed(error)

    def cancel(self) -> None:
        """It was not sent after all."""
        if self._close():
            self._meter.spending.release(self._reservation)

    def _close(self) -> bool:
        with self._lock:
            was_open, self._open = self._open, False
        return was_open

    def _leave(self, *, refused: bool | None) -> None:
        if self._place is not None:
            self._meter.limiter.release(self._place, refused=refused)
