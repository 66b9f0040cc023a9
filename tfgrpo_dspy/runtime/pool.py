"""A bounded pool of threads that keep no interpreter from exiting: who interrupts a run waits for no tool of a program.

Those of `concurrent.futures` are waited for at exit, however long a program sleeps in one of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)


class Outcome(Protocol[T_contra]):
    """What a task is to come to: a future, or what there is of one."""

    def set_running_or_notify_cancel(self) -> bool:
        """Whether it is still wanted."""

    def set_result(self, result: T_contra) -> None:
        """It came to this."""

    def set_exception(self, exception: BaseException) -> None:
        """It failed."""

    def cancel(self) -> bool:
        """It never begins."""


class Pool:
    """Threads that are made as tasks come, and end with the pool.

    Args:
        most: Tasks at once, >= 1.
    """

    def __init__(self, most: int) -> None:
        self._most, self._idle, self._is_closed = most, 0, False
        self._waiting: deque[tuple[Outcome[Any], Callable[[], Any]]] = deque()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def submit(self, task: Callable[[], R]) -> Future[R]:
        """Run it as soon as a thread is free; cancelled if the pool is closed."""
        future: Future[R] = Future()
        self.put(task, future)
        return future

    def put(self, task: Callable[[], R], outcome: Outcome[R]) -> None:
        """The same, with a place for what it comes to."""
        with self._changed:
            if not self._is_closed:
                self._waiting.append((outcome, task))
                if self._idle < len(self._waiting) and len(self._threads) < self._most:
                    thread = threading.Thread(target=self._work, name="tfgrpo", daemon=True)
                    thread.start()
                    self._threads.append(thread)
                self._changed.notify()
                return
        _cancel(outcome)

    def close(self, seconds: float | None = None, *, drop: bool = False) -> None:
        """Take no more tasks, and wait until those that were taken are over.

        Args:
            seconds: To wait at most; None for as long as it takes.
            drop: Whether those that have not begun never begin.
        """
        with self._changed:
            self._is_closed, dropped = True, list(self._waiting) if drop else []
            if drop:
                self._waiting.clear()
            self._changed.notify_all()
        for outcome, _ in dropped:
            _cancel(outcome)
        ends = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if ends is None else max(ends - time.monotonic(), 0.0))

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            outcome, task = taken
            if outcome.set_running_or_notify_cancel():
                try:
                    outcome.set_result(task())
                except BaseException as error:  # noqa: BLE001 - whoever waits for the result must see it
                    outcome.set_exception(error)
            del taken, outcome, task  # nothing is held while it waits

    def _next(self) -> tuple[Outcome[Any], Callable[[], Any]] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None


def _cancel(outcome: Outcome[Any]) -> None:
    outcome.cancel()
    outcome.set_running_or_notify_cancel()
