"""The boundary around code of users and providers: which errors stop a run, and which cost it a rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from dspy.utils.exceptions import (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMUnsupportedModelError,
)

from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.lm.budget import OutOfBudget
from tfgrpo_dspy.lm.meter import Meter, Unpriced
from tfgrpo_dspy.lm.request import HelperTimeout, within
from tfgrpo_dspy.lm.unmetered import Guard

T = TypeVar("T")

Cause: TypeAlias = Literal["infrastructure", "metric", "budget"]

FATAL = (LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedModelError)
"""Errors of the LM after which no call of the run can succeed: they stop it at once."""


class Loss(NamedTuple):
    """Why something did not take place."""

    cause: Cause
    error: str


def guarded(attempt: Callable[[], T], guard: Guard, meter: Meter, timeout: float | None) -> T | Loss:
    """What an attempt returns, if it takes no longer than it may; not made at all when nothing new may start."""
    if meter.stopped_by is not None:
        return Loss("budget", meter.stopped_by)
    try:
        outcome = attempt() if timeout is None else within(timeout, attempt)
    except HelperTimeout as late:
        guard.abandon(str(late))
        return Loss("infrastructure", str(late))
    except (OutOfBudget, Unpriced) as signal:
        guard.signal = signal
    if isinstance(guard.signal, Unpriced):
        raise guard.signal.error
    return outcome if guard.signal is None else Loss("budget", str(guard.signal))


def loss_by_metric(error: MetricError) -> Loss:
    """The loss that a metric's failure is; raises the LM's error behind it if that stops the run."""
    cause = lm_error_in(error)
    if isinstance(cause, FATAL):
        raise cause from error
    return Loss("metric", str(error))


def lm_error_in(error: BaseException) -> LMError | None:
    """The LM's error behind an exception, if student code wrapped one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LMError):
        cause = cause.__cause__
    return cause
