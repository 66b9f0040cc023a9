"""The reward R(q, o): the user's DSPy metric, called once per rollout, its answer taken at its word or refused.

A metric that needs the whole group, such as a majority vote, is a `GroupMetric`, called once per group.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from numbers import Real
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import dspy

from tfgrpo_dspy.errors import OF_PROGRAMS, MetricError, SettingsError

SingleMetric: TypeAlias = Callable[..., Any]
"""`metric(example, prediction, trace=None)`, or GEPA's `metric(gold, pred, trace, pred_name, pred_trace)`, which may be
a coroutine function; returns a bool, a finite number, or `dspy.Prediction(score=, feedback=, parts=)`. `parts`, if
given, maps the names of what the score is made of to numbers, which are recorded beside it."""


@runtime_checkable
class GroupMetric(Protocol):
    """Scores the rollouts of one query together, once all of them were made.

    Rollouts that were lost, and those in which the program failed (they have the failure score), are left out. A
    prediction has the program's outputs as JSON values (a Pydantic model as a dictionary, what is no JSON value as
    text), so that a run can be taken up after they were made and before they were scored.
    """

    def score_group(self, example: dspy.Example, predictions: Sequence[dspy.Prediction]) -> Sequence[Any]:
        """One reward for each prediction, in order, each as a metric returns it: bool, number or Prediction."""


Metric: TypeAlias = SingleMetric | GroupMetric


class Reward(NamedTuple):
    """A metric's verdict."""

    value: float
    """Any finite number; higher is better."""
    feedback: str
    """What the metric said; empty if nothing."""
    parts: tuple[tuple[str, float], ...] = ()
    """Name and value of what a composite reward is made of."""


def check_metric(metric: Metric) -> Metric:
    """The metric itself.

    Raises:
        SettingsError: It cannot be called with two, three or five positional arguments, and is no `GroupMetric`.
    """
    if isinstance(metric, GroupMetric):
        if isinstance(metric, type):
            raise SettingsError(f"metric is the class {metric.__name__}; make an object of it: {metric.__name__}(...)")
        return metric
    if not callable(metric):
        raise SettingsError(
            f"metric must be a function `(example, prediction, trace=None)`, got {type(metric).__name__}"
        )
    _positional_arguments(metric)
    return metric


def grader(metric: SingleMetric) -> Callable[[dspy.Example, dspy.Prediction], Reward]:
    """`score` by a metric that is looked at once rather than at every call."""
    return partial(score, metric, takes=_positional_arguments(metric))


def score(
    metric: SingleMetric, example: dspy.Example, prediction: dspy.Prediction, *, takes: int | None = None
) -> Reward:
    """Call the metric once, `trace` None: it is to grade, not to bootstrap.

    Args:
        metric: To be asked.
        example: What it was about.
        prediction: What is to be graded.
        takes: How many positional arguments the metric takes; None finds out.

    Raises:
        MetricError: It raised, or returned something that is no finite number.
    """
    arguments = (example, prediction, None, None, None)[: takes or _positional_arguments(metric)]
    try:
        returned = metric(*arguments)
        if inspect.iscoroutine(returned):
            returned = asyncio.run(returned)
    except OF_PROGRAMS as error:
        raise MetricError(f"the metric raised {type(error).__name__}: {error}") from error
    return _as_reward(returned)


def score_together(
    metric: GroupMetric, example: dspy.Example, predictions: Sequence[dspy.Prediction]
) -> tuple[Reward, ...]:
    """Call a group metric once.

    Raises:
        MetricError: It raised, or did not return one finite reward for each prediction.
    """
    try:
        returned: Any = metric.score_group(example, predictions)
    except OF_PROGRAMS as error:
        raise MetricError(f"the group metric raised {type(error).__name__}: {error}") from error
    if not isinstance(returned, Sequence) or isinstance(returned, str) or len(returned) != len(predictions):
        got = f"{len(returned)}" if isinstance(returned, Sequence) else type(returned).__name__
        raise MetricError(
            f"score_group of {type(metric).__name__} must return a list with one reward for each of the "
            f"{len(predictions)} predictions, in order; it returned {got}"
        )
    return tuple(_as_reward(reward) for reward in returned)


def _as_reward(returned: Any) -> Reward:
    if not isinstance(returned, dspy.Prediction):
        return Reward(_as_number(returned), "")
    parts = returned.get("parts") or {}
    if not isinstance(parts, Mapping):
        raise MetricError(f"`parts` of a metric's Prediction must map names to numbers, got {parts!r}")
    numbers = tuple((str(name), _as_number(value)) for name, value in parts.items())
    return Reward(_as_number(returned.get("score")), str(returned.get("feedback") or ""), numbers)


def _positional_arguments(metric: SingleMetric) -> int:
    try:
        parameters = inspect.signature(metric).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return 3
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [p for p in parameters if p.kind in kinds]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 3
    required = [p for p in taken if p.default is inspect.Parameter.empty]
    named = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty]
    if named:
        raise SettingsError(
            f"metric must take `(example, prediction, trace=None)`, but {_name(metric)} also needs {named[0].name}=; "
            "bind it with functools.partial"
        )
    for count in (5, 3, 2):
        if len(required) <= count <= len(taken):
            return count
    raise SettingsError(
        f"metric must take `(example, prediction, trace=None)` or GEPA's five arguments, but {_name(metric)} takes "
        f"{len(taken)}"
    )


def _as_number(returned: Any) -> float:
    value = returned
    with suppress(AttributeError, TypeError, ValueError, RuntimeError):  # no array or tensor, or one of several
        value = returned.item()
    if isinstance(value, Real | Decimal):
        with suppress(OverflowError, ValueError):  # an int or a fraction that no float can hold, or a NaN that signals
            if math.isfinite(number := float(value)):
                return number
    raise MetricError(
        f"the metric returned {returned!r} ({type(returned).__name__}); "
        "it must return a bool, a finite number or dspy.Prediction(score=..., feedback=...)"
    )


def _name(metric: SingleMetric) -> str:
    return getattr(metric, "__name__", type(metric).__name__)
