"""Counts what a run loses, and stops it when that is too much."""

from __future__ import annotations

import logging
from collections import Counter

import dspy

from tfgrpo_dspy.errors import TooManyErrors
from tfgrpo_dspy.records.events import Event, FailureRecorded, Observer, RolloutFinished
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Lost, count_groups
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
        match event:
            case RolloutFinished(rollout=Lost(cause="budget")) | FailureRecorded(failure=Failure(is_error=False)):
                pass  # not made because nothing new was to start
            case RolloutFinished(rollout=Lost(cause=cause, error=error)):
                self._count(f"rollout lost ({cause})", error)
            case FailureRecorded(failure=failure):
                self._count(f"{failure.stage} failed", failure.reason)

    def _count(self, cause: str, error: str) -> None:
        self._causes[cause] += 1
        self._first.setdefault(cause, shorten(one_line(error), 100))
        if self._causes.total() > self._max_errors:
            listed = "; ".join(f"{n} x {cause}, first: {self._first[cause]}" for cause, n in self._causes.most_common())
            raise TooManyErrors(f"more than max_errors={self._max_errors} errors: {listed}")


def warn_if_little_was_learnable(record: StepRecord, tolerance: float) -> None:
    """Say loudly that few groups of a step, or none, had something to teach, and why."""
    counts = count_groups(record.groups, tolerance)
    failed = [r for g in record.groups for r in g.scored if r.policy_failure is not None]
    if failed and len(failed) == sum(len(g.scored) for g in record.groups):
        logger.warning("step %d: the program failed in every rollout, first: %s", record.step, failed[0].policy_failure)
    elif not counts.informative:
        logger.warning(
            "step %d: no group was informative (%d all right, %d all wrong, %d otherwise equal, %d with fewer than two "
            "rollouts), so nothing could be learned; examples of medium difficulty, a larger group_size or a graded "
            "metric make rewards differ",
            record.step,
            counts.all_right,
            counts.all_wrong,
            counts.otherwise_equal,
            counts.too_few,
        )
    elif counts.informative * 10 < len(record.groups):
        logger.warning(
            "step %d: only %d of %d groups were informative", record.step, counts.informative, len(record.groups)
        )
