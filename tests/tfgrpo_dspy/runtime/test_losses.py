"""The watch counts what is lost and stops a run that loses too much."""

from __future__ import annotations

import dspy
import pytest

from tfgrpo_dspy.errors import TooManyErrors
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.events import ReflectionFinished, RolloutFinished, StepStarted
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.rollouts import Lost, Scored
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.runtime.losses import Watch


def lost(cause="infrastructure", error="LMServerError: busy") -> RolloutFinished:
    return RolloutFinished(1, Lost("s1/e0/r0", cause, error, Usage(), 0.0))


SCORED = RolloutFinished(1, Scored("s1/e0/r0", 0.0, "", "", "", 0, Usage(), 0.0, "ValueError: no answer"))
FAILED = ReflectionFinished(Update(failures=(Failure("update", "s1", "no reply", "carried"),)))


def test_every_event_is_passed_on_the_last_one_included():
    seen: list = []
    watch = Watch(0, seen.append)
    events = [StepStarted(1, 1, 1, 1), SCORED, lost()]
    for event in events[:-1]:
        watch(event)
    with pytest.raises(TooManyErrors):
        watch(events[-1])
    assert seen == events


def test_scored_failures_of_the_policy_are_no_errors():
    watch = Watch(0, lambda event: None)
    for _ in range(100):
        watch(SCORED)


def test_one_more_than_tolerated_stops_with_a_count_and_an_example_by_cause():
    watch = Watch(3, lambda event: None)
    for event in (lost(), lost("metric", "the metric raised\nKeyError"), FAILED):
        watch(event)
    with pytest.raises(TooManyErrors) as caught:
        watch(lost(error="another"))
    assert str(caught.value) == (
        "more than max_errors=3 errors: 2 x rollout lost (infrastructure), first: LMServerError: busy; "
        "1 x rollout lost (metric), first: the metric raised KeyError; 1 x update failed, first: no reply"
    )


def test_without_a_number_dspys_setting_holds():
    with dspy.context(max_errors=1):
        watch = Watch(None, lambda event: None)
    watch(lost())
    with pytest.raises(TooManyErrors, match="max_errors=1"):
        watch(lost())
