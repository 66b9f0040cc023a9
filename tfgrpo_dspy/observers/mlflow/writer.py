"""Writes on a thread of its own, in order: a run never waits for its tracking server, and nothing it says is lost."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tfgrpo_dspy.observers.mlflow.store import RunStore
from tfgrpo_dspy.text import shorten

logger = logging.getLogger(__name__)

Write = Callable[[RunStore], None]

_SLOW = 3.0
"""Seconds after which a failure means that the store is not there."""
_PARTING = 2.0
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


class Progress(NamedTuple):
    """How far the writing is."""

    written: int
    left: int
    is_over: bool
    """Whether all that was left when it was asked for has been written or tried once more."""


class Writer:
    """Writes to a run on a thread that is there as long as there is something to write.

    What fails is kept and tried again, in order, when more comes and whenever it is asked for. A refused write does not
    hold up the others; a store that is away is not asked for each of them. Thread-safe.

    Args:
        store: The run; from now on only this thread speaks to it.
        safe: Takes credentials out of what an error says.
    """

    def __init__(self, store: RunStore, safe: Callable[[str], str]) -> None:
        self.store = store
        self._safe = safe
        self._due: list[Entry] = []
        self._reasons: dict[str, str] = {}
        self._changed = threading.Condition()
        self._asked, self._made, self._written = 0, 0, 0
        self._not_before = 0.0
        self._was_told, self._is_leaving = False, False
        self._thread: threading.Thread | None = None
        _WRITERS.add(self)

    def put(self, entries: Iterable[Entry]) -> None:
        """Have these written after all that was put before; returns at once."""
        added = list(entries)
        with self._changed:
            self._due.extend(added)
            if added and time.monotonic() >= self._not_before:
                self._ask()

    def ask(self) -> int:
        """Have what is left tried once more, wherever the store was a moment ago; returns a ticket for `progress`."""
        with self._changed:
            return self._ask()

    def progress(self, ticket: int, wait: float = 0.0) -> Progress:
        """How far it is, after at most so many seconds of waiting for the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(ticket), wait)
            return Progress(self._written, len(self._due), self._is_over(ticket))

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What is not in the store: each that failed with its reason, and how many more were not tried."""
        with self._changed:
            failed = self._failed()
            untried = [e.description for e in self._due if e.description not in self._reasons]
        if not untried:
            return tuple(failed)
        named = untried[0] if len(untried) == 1 else f"{len(untried)} more, {untried[0]} to {untried[-1]}"
        return (*failed, f"{named}: not tried yet")

    def _failed(self) -> list[str]:
        names = (e.description for e in self._due if e.description in self._reasons)
        return [f"{name}: {self._reasons[name]}" for name in names]

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

    def _is_over(self, ticket: int) -> bool:
        return self._made >= ticket or self._thread is None or not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._made == self._asked:
                    self._thread = None
                    return
                ticket, due = self._asked, tuple(self._due)
            began = time.monotonic()
            is_there = self._go_through(due)
            now = time.monotonic()
            with self._changed:
                self._made, self._not_before = ticket, now if is_there else now + _PATIENCE * (now - began)
                failed = self._failed()
                self._changed.notify_all()
            if failed and not self._was_told:
                self._was_told = True
                logger.warning("MLflow does not record now, the run goes on and records are kept: %s", failed[0])

    def _go_through(self, due: Iterable[Entry]) -> bool:
        """Try each; whether the store was there to the end."""
        for entry in due:
            if self._is_leaving:
                return False
            asked = time.monotonic()
            if self._wrote(entry):
                with self._changed:
                    self._due.remove(entry)
                    self._written += 1
                    self._changed.notify_all()
            # A refused one must not hold up the others, a dead store must not be asked for them.
            elif time.monotonic() - asked >= _SLOW or not self._wrote(Entry("", RunStore.ping)):
                return False
        return True

    def _wrote(self, entry: Entry) -> bool:
        if entry.step is not None and entry.step <= self.store.committed:
            return True
        try:
            entry.write(self.store)
        except Exception as error:  # noqa: BLE001 - whatever a store raises must not stop a paid run
            if entry.description:
                with self._changed:
                    self._reasons[entry.description] = shorten(self._safe(f"{type(error).__name__}: {error}"), 60)
            return False
        return True


_WRITERS: weakref.WeakSet[Writer] = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    for writer in list(_WRITERS):
        writer.leave()
