"""Counts the examples that go wrong, and stops a run when they are too many, or when nothing comes through at all."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence

import dspy

from tfgrpo_dspy.errors import EveryRolloutFailed, TooManyErrors
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.events import Event, Observer, ReflectionFinished, RolloutFinished
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Rollout, Scored
from tfgrpo_dspy.reports.learnable import why_little_was_learnable
from tfgrpo_dspy.text import one_line, shorten

logger = logging.getLogger(__name__)


_SHARE = 0.1
"""Of the examples of a run that may go wrong by default, but no fewer than DSPy's `max_errors` (ours)."""
_NAMED = 8
"""Examples named in a message at most."""
_LARGE_LIBRARY = 1_000
"""Tokens from which on a library is named as what may have left no room."""
_REMEDIES = {
    "policy": "call the program on one example to see it fail",
    "metric": "mend the metric",
    "infrastructure": "check the endpoint (`api_base`) and the network",
}
_EXAMPLE = re.compile(r"/e(\d+)\b")


class Watch:
    """Passes events on to the observer and counts the examples that go wrong.

    An example is one error, in however many of its rollouts, summaries and extractions it goes wrong; so is an update.

    Args:
        max_errors: Errors tolerated; None for a tenth of the examples, and no fewer than DSPy's setting.
        observer: Receives every event, the last one before the stop included.
        examples: How many the run has.
    """

    def __init__(self, max_errors: int | None, observer: Observer, examples: int = 0) -> None:
        tolerated = max(dspy.settings.max_errors, math.ceil(_SHARE * examples))
        self._max_errors: int = tolerated if max_errors is None else max_errors
        self._observer = observer
        self._wrong: dict[str, None] = {}
        self._causes: Counter[str] = Counter()
        self._are_metrics = True
        """Whether nothing but the metric failed."""
        self._first: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Take one event.

        Raises:
            TooManyErrors: One example more went wrong than may.
        """
        self._observer(event)
        if getattr(event, "is_remembered", False):
            return  # it counted in the process that lost it
        match event:
            case RolloutFinished(rollout=Lost(cause="budget")):
                pass  # not made because nothing new was to start
            case RolloutFinished(rollout=Lost(name=name, cause=cause, error=error), dataset=dataset):
                self._are_metrics &= cause == "metric"
                self._count(_place(name, dataset), f"rollout lost ({cause})", error)
            case ReflectionFinished(made=made):
                for failure in made.failures:
                    if failure.is_error:
                        self._are_metrics = False
                        self._count(_place(failure.where, "trainset"), f"{failure.stage} failed", failure.reason)

    def _count(self, place: str, cause: str, error: str) -> None:
        self._wrong[place] = None
        self._causes[cause] += 1
        self._first.setdefault(cause, shorten(one_line(error), 100))
        if len(self._wrong) > self._max_errors:
            listed = "; ".join(f"{n} x {cause}, first: {self._first[cause]}" for cause, n in self._causes.most_common())
            raise TooManyErrors(
                f"more than max_errors={self._max_errors} examples went wrong ({_named(list(self._wrong))}): {listed}; "
                f"{_REMEDIES['metric' if self._are_metrics else 'infrastructure']}, or allow more with `max_errors`"
            )


def _place(name: str, dataset: str) -> str:
    """Where something went wrong, as a user finds it: `trainset[12]`, or the step of an update."""
    found = _EXAMPLE.search(name)
    return name if found is None else f"{dataset}[{found[1]}]"


def _named(places: Sequence[str]) -> str:
    more = len(places) - _NAMED
    return ", ".join(places[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def check_that_one_came_through(record: StepRecord, library: ExperienceLibrary) -> None:
    """A step in which every rollout failed or was lost has nothing to teach, and the next would be no better.

    Args:
        record: Of the step.
        library: What its rollouts read.

    Raises:
        EveryRolloutFailed: No rollout of the step came to an answer that was scored.
    """
    rollouts = [rollout for group in record.groups for rollout in group.rollouts]
    failures = [failure_of(rollout) for rollout in rollouts]
    if not rollouts or any(failure is None for failure in failures):
        return
    usual, times = Counter(failures).most_common(1)[0]
    cause = next(getattr(r, "cause", "policy") for r, f in zip(rollouts, failures, strict=True) if f == usual)
    room = f"each prompt holds the library of about {library.tokens:,} tokens; "
    raise EveryRolloutFailed(
        f"no rollout of step {record.step} came through; {times} of {len(rollouts)}: "
        f"{shorten(one_line(usual or ''), 100)}; {room if library.tokens >= _LARGE_LIBRARY else ''}{_REMEDIES[cause]}"
    )


def all_lost(lost: Sequence[Lost], of: str) -> TooManyErrors:
    """The error of what lost every rollout, with why the first was lost and what to do."""
    said = f"all {len(lost)} rollouts of the {of} were lost, the first to: {one_line(lost[0].error)}"
    return TooManyErrors(f"{said}; {_REMEDIES[lost[0].cause]}")


def failure_of(rollout: Rollout) -> str | None:
    """How a rollout failed, or was lost; None if it came through, or was not to be made."""
    if isinstance(rollout, Scored):
        return rollout.policy_failure
    return None if rollout.cause == "budget" else rollout.error


def warn_of_scores_below_failure(groups: Sequence[Group], failure_score: float) -> None:
    """Say that failing counts as better than some answers do."""
    scored = [rollout for group in groups for rollout in group.scored]
    lowest = min((r.reward for r in scored if r.policy_failure is None), default=failure_score)
    if lowest < failure_score and any(r.policy_failure is not None for r in scored):
        logger.warning(
            "rollouts that failed are scored failure_score=%g, more than the metric gave to some answers (%g); give a "
            "failure_score that is no better than its worst",
            failure_score,
            lowest,
        )


def warn_if_little_was_learnable(record: StepRecord, tolerance: float) -> None:
    """Say loudly that few groups of a step, or none, had something to teach, and why."""
    if said := why_little_was_learnable([record], tolerance):
        logger.warning("step %d: %s", record.step, said)
