"""Writes on a thread of its own, in order: no run waits for its tracking server, and nothing that it says is lost."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tfgrpo_dspy.observers.mlflow.store import RunStore
from tfgrpo_dspy.text import shorten

logger = logging.getLogger(__name__)

Write = Callable[[RunStore], None]

_SLOW = 3.0
"""Seconds after which a failure means that the store is not there."""
_PARTING = 0.4
"""Seconds that the end of the process waits for a write under way: a thread that it cuts off in a library of C++ ends
the process with an abort."""
_PATIENCE = 10.0
"""An absent store is asked again after this many times the time that it took to find it absent, and at the end."""


class Entry(NamedTuple):
    """One write that is due."""

    description: str
    """What would be missing without it."""
    write: Write
    step: int | None = None
    """Not due in a run that has recorded this step already, in an earlier process."""
    is_work: bool = False
    """Whether it may fail after much work of our own, which then says nothing of the store."""


class Progress(NamedTuple):
    """How far the writing is."""

    written: int
    left: int
    is_over: bool
    """Whether all that was left when it was asked for has been written or tried once more."""


@dataclass(eq=False, slots=True)
class _Due:
    """An entry that is not written yet."""

    store: RunStore
    entry: Entry
    safe: Callable[[str], str]
    reason: str = ""
    """Why it could not be written when it was tried; empty as long as it was not."""

    @property
    def description(self) -> str:
        about = self.store.about
        return f"{self.entry.description} of {about}" if about and self.entry.description else self.entry.description


class Writer:
    """Writes to runs on a thread that is there as long as there is something to write.

    What fails is kept and tried again, in order, when more comes and whenever it is asked for. A refused write does not
    hold up the others; a store that is away is not asked for each of them. Thread-safe.
    """

    def __init__(self) -> None:
        self._due: list[_Due] = []
        self._changed = threading.Condition()
        self._asked, self._made, self._written = 0, 0, 0
        self._not_before = 0.0
        self._was_told, self._is_leaving = False, False
        self._thread: threading.Thread | None = None
        _WRITERS.add(self)

    def put(
        self,
        store: RunStore,
        entries: Iterable[Entry],
        safe: Callable[[str], str] = str,
        *,
        first: bool = False,
    ) -> None:
        """Have these written after all that was put before; returns at once.

        Args:
            store: The run; from now on only the writer's thread speaks to it.
            entries: What is to be written.
            safe: Takes credentials out of what an error says.
            first: Before all that is still due, as nothing of that may be written any more.
        """
        added = [_Due(store, entry, safe) for entry in entries]
        with self._changed:
            place = 0 if first else len(self._due)
            self._due[place:place] = added
            if added and (first or time.monotonic() >= self._not_before):
                self._ask()

    def ask(self) -> int:
        """Have what is left tried once more, wherever the store was a moment ago; returns which asking that is."""
        with self._changed:
            return self._ask()

    def progress(self, asking: int, wait: float = 0.0) -> Progress:
        """How far it is, after at most so many seconds of waiting for the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(asking), wait)
            return Progress(self._written, len(self._due), self._is_over(asking))

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What is not in the store: each that failed with its reason, and how many more were not tried."""
        with self._changed:
            failed = [f"{due.description}: {due.reason}" for due in self._due if due.reason]
            untried = [due.description for due in self._due if not due.reason]
        if not untried:
            return tuple(failed)
        named = untried[0] if len(untried) == 1 else f"{len(untried)} more, {untried[0]} to {untried[-1]}"
        return (*failed, f"{named}: not tried yet")

    def leave(self) -> None:
        """Write nothing more but what is being written, which is waited for a little."""
        self._is_leaving, thread = True, self._thread
        if thread is not None:
            thread.join(_PARTING)

    def _ask(self) -> int:
        self._asked += 1
        if self._thread is None or not self._thread.is_alive():  # a forked child has none
            self._thread = threading.Thread(target=self._work, name="tfgrpo-mlflow", daemon=True)
            self._thread.start()
        return self._asked

    def _is_over(self, asking: int) -> bool:
        return self._made >= asking or self._thread is None or not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._made == self._asked:
                    self._thread = None
                    return
                asking = self._asked
            began = time.monotonic()
            is_there = self._go_through()
            now = time.monotonic()
            with self._changed:
                self._made, self._not_before = asking, now if is_there else now + _PATIENCE * (now - began)
                failed = next((f"{due.description}: {due.reason}" for due in self._due if due.reason), None)
                self._changed.notify_all()
            if failed is not None and not self._was_told:
                self._was_told = True
                logger.warning("MLflow does not record now, the run goes on and records are kept: %s", failed)

    def _go_through(self) -> bool:
        """Try each; whether the store was there to the end."""
        tried: set[_Due] = set()
        while (due := self._next(tried)) is not None:
            if self._is_leaving:
                return False
            asked = time.monotonic()
            tried.add(due)
            if self._wrote(due):
                with self._changed:
                    self._due.remove(due)
                    self._written += 1
                    self._changed.notify_all()
            # A refused one must not hold up the others, a dead store must not be asked for them.
            elif (not due.entry.is_work and time.monotonic() - asked >= _SLOW) or not self._wrote(
                _Due(due.store, Entry("", RunStore.ping), str)
            ):
                return False
        return True

    def _next(self, tried: set[_Due]) -> _Due | None:
        with self._changed:
            return next((due for due in self._due if due not in tried), None)

    def _wrote(self, due: _Due) -> bool:
        store, entry = due.store, due.entry
        if entry.step is not None and entry.step <= store.committed:
            return True
        try:
            entry.write(store)
        except Exception as error:  # noqa: BLE001 - whatever a store raises must not stop a paid run
            with self._changed:
                due.reason = shorten(due.safe(f"{type(error).__name__}: {error}"), 60)
            return False
        return True


_WRITERS: weakref.WeakSet[Writer] = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    for writer in list(_WRITERS):
        writer.leave()
