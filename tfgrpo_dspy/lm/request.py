"""One request at an endpoint, from its reservation to its account."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Generic, TypeVar

import dspy
from dspy.utils.exceptions import LMRateLimitError

from tfgrpo_dspy.lm.account import Reservation
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.replies import cached_tokens_of, timed_out, tokens_of
from tfgrpo_dspy.lm.usage import Usage


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


R = TypeVar("R")


class HelperTimeout(Exception):
    """A task that did not end in time."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[R]):
    """What became of a task."""

    value: R | None
    error: BaseException | None

    def result(self) -> R:
        """The value, or the task's error raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Race(Generic[R]):
    """Tasks under way, in threads that see the caller's context and do not keep the interpreter from exiting."""

    def __init__(self) -> None:
        self._ended: queue.SimpleQueue[Ended[R]] = queue.SimpleQueue()
        self.running = 0
        """Tasks whose end was not handed out yet."""

    def enter(self, task: Callable[[], R]) -> None:
        """Start a task."""
        self.running += 1
        context = copy_context()
        threading.Thread(target=context.run, args=(self._run, task), name="tfgrpo-helper", daemon=True).start()

    def next(self, seconds: float | None) -> Ended[R] | None:
        """The next task to end; None if none does within the time."""
        try:
            ended = self._ended.get(timeout=seconds)
        except queue.Empty:
            return None
        self.running -= 1
        return ended

    def _run(self, task: Callable[[], R]) -> None:
        try:
            ended = Ended(task(), None)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it must see it
            ended = Ended(None, error)
        self._ended.put(ended)


def within(seconds: float, task: Callable[[], R]) -> R:
    """The task's result, if it ends in time.

    Raises:
        HelperTimeout: It did not; it goes on in a thread that nobody waits for.
    """
    race: Race[R] = Race()
    race.enter(task)
    ended = race.next(seconds)
    if ended is None:
        raise HelperTimeout(f"timed out after {seconds:g} s; it may still be running in a thread of its own")
    return ended.result()


def attempt_of(lm: Any, call: Any, timeout: float | None, pool: int) -> tuple[Any, Any]:
    """LM and call for a single attempt that DSPy neither repeats nor looks up or keeps in its cache."""
    if not call.managed:
        return lm, call
    single = object.__new__(type(lm))
    single.__dict__.update(lm.__dict__)
    single.num_retries = 0
    if timeout is None and pool and takes_timeout(lm, call):
        timeout = 600.0  # DSPy's own, given so that the pool is another
    if timeout is None:
        return single, replace(call, cache=False) if call.cache else call
    # The timeout is part of DSPy's cache key, so it enters only here; its last digits tell connection pools apart.
    return single, replace(call, cache=False, legacy={**call.legacy, "timeout": timeout + pool / 1000})


def retries_of(lm: Any, call: Any) -> int:
    """Further attempts, as the LM says; DSPy does not repeat calls of LMs that answer by a `forward` of their own."""
    return 0 if not call.managed or dspy.settings.send_stream is not None else int(lm.num_retries)


def takes_timeout(lm: Any, call: Any) -> bool:
    """Whether DSPy owns the connection and its user did not set a timeout."""
    own = call.legacy.get("timeout", lm.kwargs.get("timeout"))
    return own is None and call.managed and isinstance(lm._engine_spec, str)
