"""Tasks in helper threads that may be given up: Python cannot stop a thread, so one that hangs is left behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

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
