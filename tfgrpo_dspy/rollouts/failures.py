"""The boundary around code of users and providers: which errors stop a run, and which cost it a rollout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from dspy.utils.exceptions import (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMUnsupportedModelError,
)

from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.lm.budget import OutOfBudget, Unpriced
from tfgrpo_dspy.lm.flight import HelperTimeout, within
from tfgrpo_dspy.lm.scope import Listener, active_meter

T = TypeVar("T")

Cause: TypeAlias = Literal["infrastructure", "metric", "budget"]

FATAL = (LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedModelError)
"""Errors of the LM after which no call of the run can succeed: they stop it at once."""


class Loss(NamedTuple):
    """Why something did not take place."""

    cause: Cause
    error: str


def guarded(attempt: Callable[[], T], listeners: Sequence[Listener], timeout: float | None) -> T | Loss:
    """What an attempt returns, if it takes no longer than it may; not made at all when nothing new may start.

    Args:
        attempt: What is to be done.
        listeners: Those that hear the calls which it makes, and refuse further ones once it is given up.
        timeout: Seconds that it may take; None for no limit.
    """
    meter = active_meter()
    if meter is not None and meter.stopped_by is not None:
        return Loss("budget", meter.stopped_by)
    signal: BaseException | None = None
    try:
        outcome = attempt() if timeout is None else within(timeout, attempt)
    except HelperTimeout as late:
        for listener in listeners:
            listener.abandon(str(late))
        return Loss("infrastructure", str(late))
    except (OutOfBudget, Unpriced) as raised:
        signal = raised
    signal = next((s for s in (listener.signal for listener in listeners) if s is not None), signal)
    if isinstance(signal, Unpriced):
        raise signal.error
    return outcome if signal is None else Loss("budget", str(signal))


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
