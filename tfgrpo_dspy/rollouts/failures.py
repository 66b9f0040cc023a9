"""The boundary around code of users and providers: which errors stop a run, and which cost it a rollout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from tfgrpo_dspy.errors import MetricError, RequestError
from tfgrpo_dspy.lm.budget import OutOfBudget, Unpriced
from tfgrpo_dspy.lm.flight import HelperTimeout, within
from tfgrpo_dspy.lm.scope import Listener, active_meter
from tfgrpo_dspy.lm.verdicts.facts import causes
from tfgrpo_dspy.lm.verdicts.table import PROGRAM, Verdict, verdict_of

T = TypeVar("T")

Cause: TypeAlias = Literal["infrastructure", "metric", "budget"]


class Loss(NamedTuple):
    """Why something did not take place."""

    cause: Cause
    error: str


def guarded(attempt: Callable[[], T], listeners: Sequence[Listener], timeout: float | None) -> T | Loss:
    """What an attempt returns, if it takes no longer than it may; not made at all when nothing new may start.

    Listeners hear the calls that it makes, and refuse further ones once it is given up, after `timeout` seconds.
    """
    meter = active_meter()
    if meter is not None and meter.stopped_by is not None:
        return Loss("budget", meter.stopped_by)
    signal: BaseException | None = None
    try:
        waited = meter.outages.waited if meter is not None else float
        outcome = attempt() if timeout is None else within(timeout, attempt, waited)
    except HelperTimeout as late:
        for listener in listeners:
            listener.abandon(str(late))
        return Loss("infrastructure", str(late))
    except (OutOfBudget, Unpriced, BaseExceptionGroup) as raised:  # `asyncio.TaskGroup` makes a group of it
        signal = next((one for one in causes(raised) if isinstance(one, OutOfBudget | Unpriced)), None)
        if signal is None:
            raise
    signal = next((s for s in (listener.signal for listener in listeners) if s is not None), signal)
    if isinstance(signal, Unpriced):
        raise signal.error
    return outcome if signal is None else Loss("budget", str(signal))


def unanswered(failures: Sequence[BaseException]) -> BaseException | None:
    """The last of the failures that is not the policy's: a program that makes an answer of it had none of a model."""
    return next((one for one in reversed(failures) if verdict_of(one).taken_for != "policy"), None)


def judged(error: BaseException, before: Sequence[BaseException] = ()) -> Verdict:
    """Whose failure an error is, unless it ends the run.

    Args:
        error: What a program or a metric raised.
        before: What the LMs and modules that it called had raised. `dspy.Parallel` and `BestOfN` make None of that, on
            which a program then fails: where its own error says nothing, the last of these that does decides.

    Raises:
        RequestError: No call like the one that failed can succeed.
    """
    verdict = verdict_of(error)
    if verdict.rule is PROGRAM and (behind := unanswered(before)) is not None:
        verdict = verdict_of(behind)
    if verdict.taken_for == "request":
        raise RequestError(verdict.sentence) from verdict.error
    return verdict


def loss_by_metric(error: MetricError, before: Sequence[BaseException] = ()) -> Loss:
    """The loss that a metric's failure is: the metric's, or that of what it asked; `before` as for `judged`.

    Raises:
        RequestError: No call like the one that failed in it can succeed.
    """
    is_its_own = judged(error, before).taken_for == "policy"
    return Loss("metric" if is_its_own else "infrastructure", str(error))
