"""The engine around an LM's own: every request passes it once, behind DSPy's cache and callbacks.

A request is reserved for, sent when there is a place for it, given up when it takes too long, repeated when that may
help, and written down. Threads and coroutines go the same way: it is written once as a coroutine, and a thread drives
it to its end, as nothing in it ever waits otherwise than through a `Way`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from dspy.lm15 import Message, Response, TextPart
from dspy.lm15 import Usage as Counts

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.lm.attempt import OFFER, Admission, Attempt, Errand, Place, Way, claim_of
from tfgrpo_dspy.lm.budget import OutOfBudget
from tfgrpo_dspy.lm.meter import LONGEST_WAIT, Meter
from tfgrpo_dspy.lm.outage import STORE, is_absence
from tfgrpo_dspy.lm.scope import Scope
from tfgrpo_dspy.lm.verdicts.replies import (
    CutReply,
    EmptyReply,
    is_repeated,
    may_pass,
    timed_out,
)

T = TypeVar("T")


@dataclass(slots=True)
class _Failures:
    """What a call has failed with so far that DSPy repeats."""

    call: object
    error: Exception
    attempts: int = 1
    timeouts: int = 0
    rest: float | None = 0.0
    """Seconds before it is repeated; None for not at all."""


_FAILED: ContextVar[_Failures | None] = ContextVar("tfgrpo_failed", default=None)


async def ask(scope: Scope, errand: Errand, way: Way) -> Any:
    """Make a request; what DSPy is to repeat is raised as an error that it repeats at once, and waited for here.

    Raises:
        LM15Error: It failed.
        OutOfBudget: It would exceed a cap, or nothing new may start.
    """
    meter = scope.meter
    while True:
        attempt = await board(scope, errand, way)
        try:
            response = await way.fly(attempt)
        except OutOfBudget as signal:
            attempt.failed(signal)
            if scope.listener is not None:
                scope.listener.signal = signal
            raise
        except Exception as error:
            attempt.failed(error)
            if is_absence(error) and meter.outages.is_away(errand.model):
                _FAILED.set(None)
                meter.retried()
                continue  # it is not this call that failed: it is sent again when the endpoint is back
            told = _remember(meter, errand, error)
            if told is error:
                raise
            if isinstance(error, EmptyReply | CutReply) and _attempts(errand) <= errand.repeats:
                continue  # DSPy repeats no call of LiteLLM that was answered
            raise told from error
        _forget()
        return response


async def board(scope: Scope, errand: Errand, way: Way) -> Attempt:
    """A request that may go out now, after the wait that it is due if it failed before.

    Raises:
        LM15Error: As it failed before, if it is not to be repeated.
        OutOfBudget: It would exceed a cap, or nothing new may start.
    """
    meter = scope.meter
    if scope.listener is not None:
        scope.listener.check()
    meter.models.add(errand.model)
    before = _failures_of(errand)
    try:
        if before is not None:
            await _rest(meter, before, way)
        timeouts = 0 if before is None else before.timeouts
        allowed = meter.allowed((errand.model, scope.kind), timeouts, errand.own_timeout)
        try:
            await _endpoint(scope, errand, way)
            return Attempt(scope, errand, await _admit(scope, errand, way), allowed)
        except BaseException as error:
            meter.outages.failed(errand.model, errand.request, error)
            raise
    except OutOfBudget as refused:
        if scope.listener is not None:
            scope.listener.signal = refused
        raise


async def _rest(meter: Meter, before: _Failures, way: Way) -> None:
    """Wait before a call that failed is repeated; raises its error again if it is not to be."""
    if before.rest is None:
        raise before.error
    if before.rest:
        await way.rest(meter, before.rest)
    meter.retried()


async def _endpoint(scope: Scope, errand: Errand, way: Way) -> None:
    """Wait while it is away."""
    meter = scope.meter
    if meter.outages.is_away(errand.model):
        await way.until(partial(_arrive, meter, errand.model, errand.request))
        if scope.listener is not None:
            scope.listener.check()


def _arrive(meter: Meter, place: str, who: object, wake: Callable[[], None]) -> bool | None:
    meter.check()
    return meter.outages.enter(place, who, wake)


async def _admit(scope: Scope, errand: Errand, way: Way) -> Admission:
    """An admission: that of the engine which makes this request, or a new one."""
    offer = OFFER.get()
    if offer is not None and not offer.is_taken:
        offer.is_taken = True
        return offer.admission
    places: list[Place] = []
    inwards = [*scope.outwards][::-1]  # in this order all of them wait for one another
    try:
        for each in inwards:
            places.append(await _place(each, errand, way))
    except BaseException as signal:
        for taken, reservation, begun in places:
            taken.meter.limiter.leave(begun, refused=None)
            taken.meter.spending.release(reservation)
        if isinstance(signal, OutOfBudget):
            for within in inwards[len(places) + 1 :]:
                within.meter.spending.refuse(str(signal))
        raise
    return Admission(*places)


async def _place(scope: Scope, errand: Errand, way: Way) -> Place:
    meter = scope.meter
    try:
        reserve = partial(meter.spending.reserve_or_wake, claim_of(scope, errand), way.me())
        reservation = await written(meter, way, errand.request, partial(way.until, reserve))
        try:
            begun = await way.until(partial(_enter, meter))
        except BaseException:
            meter.spending.release(reservation)
            raise
    except OutOfBudget as refused:
        if scope.listener is not None:
            scope.listener.signal = refused
        raise
    return Place(scope, reservation, begun)


async def written(meter: Meter, way: Way, who: object, write: Callable[[], Awaitable[T]]) -> T:
    """What `write` returns, once its run's disk takes it: nothing new starts until then.

    Raises:
        OutOfBudget: Nothing new may start any more.
    """
    while True:
        try:
            made = await write()
        except StoreError as refused:
            meter.outages.refused(who, refused)
        except BaseException as signal:
            meter.outages.failed(STORE, who, signal)
            raise
        else:
            if meter.outages.is_away(STORE):
                meter.outages.answered(STORE)
            return made
        await way.until(partial(_arrive, meter, STORE, who))


def _enter(meter: Meter, wake: Callable[[], None]) -> int | None:
    meter.check()
    return meter.limiter.enter(wake)


def _failures_of(errand: Errand) -> _Failures | None:
    """How this very request failed before, in this thread or task: it is DSPy that repeats it."""
    before = _FAILED.get()
    if before is None or before.call is errand.call:
        return before
    _FAILED.set(None)
    return None


def _forget() -> None:
    """Whatever failed here before was answered at last: another candidate of the same request begins anew."""
    if _FAILED.get() is not None:
        _FAILED.set(None)


def _attempts(errand: Errand) -> int:
    before = _failures_of(errand)
    return before.attempts if before is not None else 0


def _remember(meter: Meter, errand: Errand, error: Exception) -> Exception:
    """What DSPy will repeat, and how long it is then to rest first; returns the error that it is to be told."""
    before = _failures_of(errand)
    if not may_pass(error):  # where DSPy repeats it nevertheless, it is told the same again, and nothing is sent
        _FAILED.set(_Failures(errand.call, error, rest=None) if is_repeated(error) else None)
        return error
    attempts, timeouts = (before.attempts, before.timeouts) if before is not None else (0, 0)
    rest = meter.wait_for(error, attempts, errand.model)
    will_rest = rest if rest <= LONGEST_WAIT else None
    told = copy(error)
    told.retry_after = 0.0  # type: ignore[attr-defined]  # DSPy would sleep where nothing could wake it
    _FAILED.set(_Failures(errand.call, told, attempts + 1, timeouts + timed_out(error), will_rest))
    return told


@contextmanager
def streaming(attempt: Attempt) -> Iterator[Callable[[Any], None]]:
    """While its reply comes in events, each of which is to be shown to what this gives."""
    meter, errand, seen = attempt.scope.meter, attempt.errand, _Seen(attempt.errand.model)
    meter.departs(attempt.flight)
    try:
        yield seen.event
    except BaseException as error:
        told = attempt.told(error)
        attempt.failed(told)
        if isinstance(told, Exception):
            raise _remember(meter, errand, told) from error
        raise
    finally:
        meter.returns(attempt.flight)
    _forget()
    if not attempt.offer.is_taken:
        reply, took = errand.read(seen.response())
        try:
            attempt.came(replace(reply, is_blank=reply.is_blank and not seen.is_other), took)
        except Exception as error:
            raise _remember(meter, errand, error) from error


class _Seen:
    """What a streamed reply said so far."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._texts: list[str] = []
        self._end: Any = None
        self.is_other = False
        """Whether there was anything else than text: reasoning, a call of a tool."""

    def event(self, event: Any) -> None:
        """One more of its events."""
        if event.type == "end":
            self._end = event
        elif event.type == "delta" and isinstance(text := getattr(event.delta, "text", None), str):
            self._texts.append(text)
        self.is_other = self.is_other or (event.type == "delta" and getattr(event.delta, "type", "text") != "text")

    def response(self) -> Response:
        """As much of it as is counted."""
        message = Message.assistant([TextPart("".join(self._texts))])
        finish = getattr(self._end, "finish_reason", None) or "stop"
        usage = getattr(self._end, "usage", None) or Counts()
        return Response(id=None, model=self._model, message=message, finish_reason=finish, usage=usage)
