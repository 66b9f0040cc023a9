"""Counts what a run loses, and stops it when that is too much."""

from __future__ import annotations

import logging
from collections import Counter

import dspy

from tfgrpo_dspy.errors import TooManyErrors
from tfgrpo_dspy.records.events import Event, Observer, ReflectionFinished, RolloutFinished
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Lost
from tfgrpo_dspy.reports.verdict import why_little_was_learnable
from tfgrpo_dspy.text import one_line, shorten

logger = logging.getLogger(__name__)


class Watch:
    """Passes events on to the observer and counts losses.

    Args:
        max_errors: Losses tolerated; None takes DSPy's setting.
        observer: Receives every event, the last one before the stop included.
    """

    def __init__(self, max_errors: int | None, observer: Observer) -> None:
        self._max_errors: int = dspy.settings.max_errors if max_errors is None else max_errors
        self._observer = observer
        self._causes: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Take one event.

        Raises:
            TooManyErrors: It is one loss too many.
        """
        self._observer(event)
        if getattr(event, "is_remembered", False):
            return  # it counted in the process that lost it
        match event:
            case RolloutFinished(rollout=Lost(cause="budget")):
                pass  # not made because nothing new was to start
            case RolloutFinished(rollout=Lost(cause=cause, error=error)):
                self._count(f"rollout lost ({cause})", error)
            case ReflectionFinished(made=made):
                for failure in made.failures:
                    if failure.is_error:
                        self._count(f"{failure.stage} failed", failure.reason)

    def _count(self, cause: str, error: str) -> None:
        self._causes[cause] += 1
        self._first.setdefault(cause, shorten(one_line(error), 100))
        if self._causes.total() > self._max_errors:
            listed = "; ".join(f"{n} x {cause}, first: {self._first[cause]}" for cause, n in self._causes.most_common())
            raise TooManyErrors(f"more than max_errors={self._max_errors} errors: {listed}")


def warn_if_little_was_learnable(record: StepRecord, tolerance: float) -> None:
    """Say loudly that few groups of a step, or none, had something to teach, and why."""
    if said := why_little_was_learnable([record], tolerance):
        logger.warning("step %d: %s", record.step, said)
