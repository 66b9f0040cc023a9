"""Hands events to observers, none of which can stop or steer a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tfgrpo_dspy.records.events import Event, Observer

logger = logging.getLogger(__name__)


class Announcer:
    """Calls each observer with each event; what an observer raises is kept and said, never passed on.

    Args:
        observers: Called in this order.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._failures: dict[int, str] = {}

    def __call__(self, event: Event) -> None:
        """Hand on one event."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - a listener's mistake must not cost a paid run
                self._note(observer, event, error)

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What observers failed to take: their errors here, and what they say of themselves as `unrecorded`."""
        own = [line for observer in self._observers for line in getattr(observer, "unrecorded", ())]
        return (*self._failures.values(), *own)

    def _note(self, observer: Observer, event: Event, error: Exception) -> None:
        name = getattr(observer, "__name__", type(observer).__name__)
        described = f"{name} failed at {type(event).__name__}: {type(error).__name__}: {error}"
        if id(observer) not in self._failures:
            self._failures[id(observer)] = described
            logger.warning("observer %s; the run goes on", described)
