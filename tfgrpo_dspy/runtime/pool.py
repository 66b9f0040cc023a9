"""A bounded pool of threads that keep no interpreter from exiting: who interrupts a run waits for no tool of a program.

Those of `concurrent.futures` are waited for at exit, however long a program sleeps in one of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")


class Pool:
    """Threads that are made as tasks come, and end with the pool.

    Args:
        most: Tasks at once, >= 1.
    """

    def __init__(self, most: int) -> None:
        self._most, self._idle, self._is_closed = most, 0, False
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def submit(self, task: Callable[[], R]) -> Future[R]:
        """Run it as soon as a thread is free; cancelled if the pool is closed."""
        future: Future[R] = Future()
        with self._changed:
            if not self._is_closed:
                self._waiting.append((future, task))
                if self._idle < len(self._waiting) and len(self._threads) < self._most:
                    thread = threading.Thread(target=self._work, name="tfgrpo", daemon=True)
                    thread.start()
                    self._threads.append(thread)
                self._changed.notify()
                return future
        _cancel(future)
        return future

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
        for future, _ in dropped:
            _cancel(future)
        ends = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if ends is None else max(ends - time.monotonic(), 0.0))

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            future, task = taken
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(task())
                except BaseException as error:  # noqa: BLE001 - whoever waits for the result must see it
                    future.set_exception(error)
            del taken, future, task  # nothing is held while it waits

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None


def _cancel(future: Future[Any]) -> None:
    future.cancel()
    future.set_running_or_notify_cancel()
