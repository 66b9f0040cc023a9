"""Each way in which a run ends is a sentence of its own, with what is kept and what goes on with it."""

from __future__ import annotations

import copy
import pickle

import pytest

from tfgrpo_dspy import ReviewStop
from tfgrpo_dspy.lm.budget import Reason
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.run.ending import ended

LIMIT = "max_lm_calls=300: 285 calls were made, 15 are kept for reflection"
AWAY = "max_outage=3600: the endpoint of openai/m was away for 3600 s"


@pytest.mark.parametrize(
    ("error", "stopped_by", "state", "sentence"),
    [
        (None, None, "done", "Done"),
        (None, Reason(LIMIT), "stopped by a limit", "Stopped by max_lm_calls=300 before the end of step 1 of 3"),
        (
            None,
            Reason("patience=2: no progress in so many epochs", "patience"),
            "out of patience",
            "Stopped by patience=2 before",
        ),
        (None, Reason(AWAY, "outage"), "the endpoint was away", "The endpoint was away before the end of step 1 of 3"),
        (
            None,
            Reason("run.db cannot be written: no room", "disk"),
            "the disk took no more",
            "The disk took no more before",
        ),
        (
            KeyboardInterrupt(),
            Reason("a person interrupted the run"),
            "interrupted",
            "Interrupted before the end of step 1",
        ),
        (ReviewStop("decide in review.json"), None, "waiting for review", "Waiting for review before the end of"),
        (
            RuntimeError("no\ncredit"),
            Reason("an error stopped it"),
            "stopped by an error",
            "Stopped by an error before the",
        ),
    ],
)
def test_each_end_is_told_by_a_sentence_and_a_state_of_its_own(error, stopped_by, state, sentence):
    told = ended(error, stopped_by, [], 3, "9 results, in log")
    assert told.state == state
    assert told.sentence.startswith(sentence)
    assert repr(told).splitlines()[0] == told.sentence
    assert told.is_whole == (state == "done")
    assert ("Kept: 9 results, in log." in told.details()) == (state != "done")


def test_what_is_kept_comes_with_what_goes_on_with_it():
    told = Ended("limit", LIMIT, 1, 3, "35 rollouts of step 1, 2 more of 3 steps", "340 results, in log")
    assert told.sentence == "Stopped by max_lm_calls=300 after step 1 of 3"
    assert told.details("tfgrpo compile --max-lm-calls 600") == [
        f"{LIMIT}.",
        "Not done: 35 rollouts of step 1, 2 more of 3 steps.",
        "Kept: 340 results, in log.",
        "To go on, raise the limit and run the same again: tfgrpo compile --max-lm-calls 600",
    ]
    assert told.details()[-1] == "To go on, raise the limit and run the same again."


def test_where_nothing_is_kept_nothing_goes_on():
    assert Ended("interrupted", "", 1, 3, "2 more of 3 steps").details("tfgrpo compile") == [
        "Not done: 2 more of 3 steps."
    ]


@pytest.mark.parametrize("copied", [copy.copy, lambda reason: pickle.loads(pickle.dumps(reason)), Reason])
def test_a_reason_stays_what_it_is_wherever_it_is_handed(copied):
    assert (copied(Reason(AWAY, "outage")), copied(Reason(AWAY, "outage")).how) == (AWAY, "outage")
    assert Reason(LIMIT).how == "limit"
