"""The reward R(q, o): what a metric may be, what it may say, and how often it is asked."""

from __future__ import annotations

import asyncio
import functools
import math
from decimal import Decimal
from fractions import Fraction

import dspy
import numpy as np
import pytest

from tfgrpo_dspy.errors import MetricError, SettingsError
from tfgrpo_dspy.rewards.reward import Reward, check_metric, score

EXAMPLE = dspy.Example(question="2+2", answer="4").with_inputs("question")
PREDICTION = dspy.Prediction(answer="4")


def returning(value):
    return lambda example, prediction, trace=None: value


@pytest.mark.parametrize(
    ("returned", "reward"),
    [
        (True, 1.0),
        (False, 0.0),
        (3, 3.0),
        (-0.5, -0.5),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(2), 2.0),
        (np.bool_(True), 1.0),
        (np.array(0.75), 0.75),
        (np.array([[0.75]]), 0.75),
        (dspy.Prediction(score=0.25), 0.25),
        (dspy.Prediction(score=True), 1.0),
        (dspy.Prediction(score=np.float64(0.5), feedback=None), 0.5),
    ],
)
def test_bools_numbers_and_predictions_with_a_score_are_rewards(returned, reward):
    verdict = score(returning(returned), EXAMPLE, PREDICTION)
    assert verdict == Reward(reward, "")
    assert type(verdict.value) is float


def test_a_metric_that_is_a_coroutine_function_is_awaited():
    async def judged(example, prediction, trace=None):
        await asyncio.sleep(0)
        return dspy.Prediction(score=0.5, feedback="half")

    assert score(judged, EXAMPLE, PREDICTION) == Reward(0.5, "half")


@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError("late")])
def test_a_metric_that_exits_or_is_cancelled_has_raised(error):
    def ends(example, prediction, trace=None):
        raise error

    with pytest.raises(MetricError, match=f"the metric raised {type(error).__name__}: {error}"):
        score(ends, EXAMPLE, PREDICTION)


def test_feedback_of_a_prediction_is_kept_as_text():
    praised = dspy.Prediction(score=1, feedback="well done")
    assert score(returning(praised), EXAMPLE, PREDICTION) == Reward(1.0, "well done")
    assert score(returning(dspy.Prediction(score=1, feedback=["a", "b"])), EXAMPLE, PREDICTION).feedback == "['a', 'b']"


@pytest.mark.parametrize(
    "returned",
    [None, "1.0", math.nan, math.inf, -math.inf, 1j, [1.0], {"score": 1}, np.array([1.0, 0.0]), np.float64("nan"),
     dspy.Prediction(feedback="no score"), dspy.Prediction(score="high"), dspy.Prediction(score=math.nan),
     Decimal("NaN"), Decimal("sNaN"), 10**309],
)  # fmt: skip
def test_what_is_no_finite_number_is_refused_in_a_sentence_that_says_what_to_return(returned):
    with pytest.raises(MetricError, match=r"must return a bool, a finite number or dspy\.Prediction\(score="):
        score(returning(returned), EXAMPLE, PREDICTION)


def test_an_error_of_the_metric_is_named_and_kept_as_the_cause():
    def broken(example, prediction, trace=None):
        return example.no_such_field

    with pytest.raises(MetricError, match=r"the metric raised AttributeError: .*no_such_field") as caught:
        score(broken, EXAMPLE, PREDICTION)
    assert isinstance(caught.value.__cause__, AttributeError)


def two(example, prediction):
    return (example, prediction) == (EXAMPLE, PREDICTION)


def three(example, prediction, trace):
    return two(example, prediction) and trace is None


def five(gold, pred, trace, pred_name, pred_trace):
    return three(gold, pred, trace) and pred_name is None and pred_trace is None


def five_with_defaults(gold, pred, trace=None, pred_name=None, pred_trace=None):
    return five(gold, pred, trace, pred_name, pred_trace)


class Judge:
    def __call__(self, example, prediction, trace=None):
        return three(example, prediction, trace)

    def judge(self, example, prediction, trace=None):
        return three(example, prediction, trace)


@pytest.mark.parametrize(
    "metric",
    [
        two,
        three,
        five,
        five_with_defaults,
        lambda e, p: two(e, p),
        lambda e, p, trace=None, *, strict=True: strict and three(e, p, trace),
        lambda *everything: three(*everything),
        lambda e, p, *rest: three(e, p, *rest),
        Judge(),
        Judge().judge,
        functools.partial(three, trace=None),
        functools.partial(lambda flag, e, p, t=None: flag and three(e, p, t), True),
    ],
)
def test_metrics_of_two_three_and_five_arguments_are_called_as_they_ask(metric):
    assert score(check_metric(metric), EXAMPLE, PREDICTION).value == 1.0


def test_a_builtin_without_a_signature_is_called_with_three_arguments():
    assert check_metric(max) is max
    with pytest.raises(MetricError, match="the metric raised"):
        score(max, EXAMPLE, PREDICTION)


@pytest.mark.parametrize(
    "metric",
    [lambda: 1, lambda example: 1, lambda a, b, c, d: 1, lambda a, b, c, d, e, f: 1, lambda e, p, *, strict: 1],
)
def test_a_metric_with_other_arguments_is_refused_before_any_call(metric):
    with pytest.raises(SettingsError, match=r"metric must take `\(example, prediction, trace=None\)`"):
        check_metric(metric)


@pytest.mark.parametrize("metric", [None, "exact", 1.0])
def test_what_cannot_be_called_is_refused(metric):
    with pytest.raises(SettingsError, match="metric must be a function"):
        check_metric(metric)


def test_the_metric_is_called_once_whether_it_answers_or_raises():
    calls = []

    def counting(example, prediction, trace=None):
        calls.append(1)
        if len(calls) == 2:
            raise TypeError("looks like a wrong number of arguments")
        return 1

    score(counting, EXAMPLE, PREDICTION)
    with pytest.raises(MetricError):
        score(counting, EXAMPLE, PREDICTION)
    assert len(calls) == 2
