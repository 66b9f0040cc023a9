"""The watch counts what is lost and stops a run that loses too much."""

from __future__ import annotations

import re
from dataclasses import replace

import dspy
import pytest

from tfgrpo_dspy.errors import EveryRolloutFailed, TooManyErrors
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.events import ReflectionFinished, RolloutFinished, StepStarted
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.runtime.losses import Watch, check_that_one_came_through


def lost(name="s1/e0/r0", cause="infrastructure", error="LMServerError: busy", dataset="trainset") -> RolloutFinished:
    return RolloutFinished(1, Lost(name, cause, error, Usage(), 0.0), dataset=dataset)


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


def test_one_more_than_tolerated_stops_with_the_examples_a_count_and_one_of_them_by_cause():
    watch = Watch(2, lambda event: None)
    for event in (lost(), lost("s1/e7/r1", "metric", "the metric raised\nKeyError"), lost("s2/e0/r3")):
        watch(event)
    with pytest.raises(TooManyErrors) as caught:
        watch(FAILED)
    assert str(caught.value) == (
        "more than max_errors=2 examples went wrong (trainset[0], trainset[7], s1): "
        "2 x rollout lost (infrastructure), first: LMServerError: busy; "
        "1 x rollout lost (metric), first: the metric raised KeyError; 1 x update failed, first: no reply; "
        "check the endpoint (`api_base`) and the network, or allow more with `max_errors`"
    )


def test_where_nothing_but_the_metric_failed_the_metric_is_to_be_mended():
    watch = Watch(0, lambda event: None)
    with pytest.raises(TooManyErrors, match=r"; mend the metric, or allow more with `max_errors`$"):
        watch(lost("s1/e7/r1", "metric", "the metric raised KeyError"))


def test_an_example_is_one_error_in_however_many_rollouts_steps_and_stages_it_goes_wrong():
    watch = Watch(1, lambda event: None)
    summary = Failure("summary", "s2/e3/r0", "cut off", "shortened")
    extraction = Failure("extraction", "s3/e3", "no reply", "carried")
    for step in range(1, 4):
        for rollout in range(5):
            watch(lost(f"s{step}/e3/r{rollout}"))
    watch(ReflectionFinished(Update(failures=(summary, extraction))))


def test_an_example_of_another_set_is_another():
    watch = Watch(1, lambda event: None)
    watch(lost("s1/e3/r0"))
    with pytest.raises(TooManyErrors, match=r"\(trainset\[3\], valset\[3\]\)"):
        watch(lost("s1/e3/r0", dataset="valset"))


def test_of_many_examples_some_are_named():
    watch = Watch(9, lambda event: None)
    for position in range(9):
        watch(lost(f"s1/e{position}/r0"))
    with pytest.raises(TooManyErrors, match=r"trainset\[6\], trainset\[7\] and 2 more\)"):
        watch(lost("s1/e9/r0"))


@pytest.mark.parametrize(("examples", "tolerated"), [(0, 2), (20, 2), (21, 3), (100, 10), (1_000, 100)])
def test_without_a_number_a_tenth_may_go_wrong_and_as_many_as_dspys_setting_says(examples, tolerated):
    with dspy.context(max_errors=2):
        watch = Watch(None, lambda event: None, examples)
    for position in range(tolerated):
        watch(lost(f"s1/e{position}/r0"))
    with pytest.raises(TooManyErrors, match=f"max_errors={tolerated} "):
        watch(lost(f"s1/e{tolerated}/r0"))


def of_step(*rollouts: Scored | Lost) -> StepRecord:
    group = Group("s1/e0", dspy.Example(question="q").with_inputs("question"), rollouts)
    return StepRecord(1, 1, (group,), (), (), (), ExperienceLibrary(), (), Usage(), Usage(), 0.0)


FAILURE, LOSS, REFUSAL = SCORED.rollout, lost().rollout, lost(cause="budget").rollout
ANSWER = replace(FAILURE, policy_failure=None)


def test_a_step_in_which_nothing_came_through_says_how_often_and_how():
    with pytest.raises(EveryRolloutFailed) as caught:
        check_that_one_came_through(of_step(FAILURE, LOSS, FAILURE), ExperienceLibrary())
    assert str(caught.value) == (
        "no rollout of step 1 came through; 2 of 3: ValueError: no answer; "
        "call the program on one example to see it fail"
    )


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [("metric", "mend the metric"), ("infrastructure", "check the endpoint (`api_base`) and the network")],
)
def test_what_to_mend_depends_on_what_was_lost(cause, remedy):
    with pytest.raises(EveryRolloutFailed, match=f"{re.escape(remedy)}$"):
        check_that_one_came_through(of_step(lost(cause=cause).rollout), ExperienceLibrary())


def test_a_library_that_may_have_left_no_room_is_named():
    large = ExperienceLibrary.from_texts("a rule of many words " * 40 + str(i) for i in range(10))
    with pytest.raises(EveryRolloutFailed, match=r"each prompt holds the library of about [\d,]+ tokens"):
        check_that_one_came_through(of_step(FAILURE), large)


@pytest.mark.parametrize("rollouts", [(), (FAILURE, ANSWER), (LOSS, REFUSAL), (ANSWER,)])
def test_one_answer_or_a_limit_is_enough_to_go_on(rollouts):
    check_that_one_came_through(of_step(*rollouts), ExperienceLibrary())
