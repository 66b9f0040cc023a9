"""The reward R(q, o): the user's DSPy metric, called once per rollout, its answer taken at its word or refused."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import dspy

from tfgrpo_dspy.errors import MetricError, SettingsError

Metric = Callable[..., Any]
"""`metric(example, prediction, trace=None)`, or GEPA's `metric(gold, pred, trace, pred_name, pred_trace)`; returns a
bool, a finite number, or `dspy.Prediction(score=, feedback=)`."""


class Reward(NamedTuple):
    """A metric's verdict."""

    value: float
    """Any finite number; higher is better."""
    feedback: str
    """What the metric said; empty if nothing."""


def check_metric(metric: Metric) -> Metric:
    """The metric itself.

    Raises:
        SettingsError: It cannot be called with two, three or five positional arguments.
    """
    if not callable(metric):
        raise SettingsError(f"metric must be a function (example, prediction, trace=None), got {type(metric).__name__}")
    _positional_arguments(metric)
    return metric


def score(metric: Metric, example: dspy.Example, prediction: dspy.Prediction) -> Reward:
    """Call the metric once, `trace` None: it is to grade, not to bootstrap.

    Raises:
        MetricError: It raised, or returned something that is no finite number.
    """
    arguments = (example, prediction, None, None, None)[: _positional_arguments(metric)]
    try:
        returned = metric(*arguments)
    except Exception as error:
        raise MetricError(f"the metric raised {type(error).__name__}: {error}") from error
    feedback = ""
    if isinstance(returned, dspy.Prediction):
        feedback = str(returned.get("feedback") or "")
        returned = returned.get("score")
    return Reward(_as_number(returned), feedback)


def _positional_arguments(metric: Metric) -> int:
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
            f"metric must take (example, prediction, trace=None), but {_name(metric)} also needs {named[0].name}=; "
            "bind it with functools.partial"
        )
    for count in (5, 3, 2):
        if len(required) <= count <= len(taken):
            return count
    raise SettingsError(
        f"metric must take (example, prediction, trace=None) or GEPA's five arguments, but {_name(metric)} takes "
        f"{len(taken)}"
    )


def _as_number(returned: Any) -> float:
    value = returned.item() if hasattr(returned, "item") and getattr(returned, "ndim", 0) == 0 else returned
    number = _as_float(value) if isinstance(value, Real) else math.nan
    if math.isfinite(number):
        return number
    raise MetricError(
        f"the metric returned {returned!r} ({type(returned).__name__}); "
        "it must return a bool, a finite number or dspy.Prediction(score=..., feedback=...)"
    )


def _as_float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:  # an int or a fraction that no float can hold
        return math.inf


def _name(metric: Metric) -> str:
    return getattr(metric, "__name__", type(metric).__name__)
