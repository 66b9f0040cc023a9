"""The engine around an LM's own: every request passes it once, behind DSPy's cache and callbacks.

A request is reserved for, sent when there is a place for it, given up when it takes too long, repeated when that may
help, and written down. Threads and coroutines go the same way: it is written once as a coroutine, and a thread drives
it to its end, as nothing in it ever waits otherwise than through a `Way`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from dspy.lm15 import Message, RateLimitError, Response, TextPart
from dspy.lm15 import Usage as Counts

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.lm.account import Claim, Reservation
from tfgrpo_dspy.lm.budget import POLICY, OutOfBudget
from tfgrpo_dspy.lm.flight import Flight
from tfgrpo_dspy.lm.meter import LONGEST_WAIT, Meter
from tfgrpo_dspy.lm.outage import STORE, is_absence
from tfgrpo_dspy.lm.scope import Scope
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.lm.verdicts.replies import (
    CutReply,
    EmptyReply,
    Reply,
    TooLongReply,
    fault_in,
    is_repeated,
    may_pass,
    timed_out,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Errand:
    """One request to be made, whoever's engine makes it."""

    model: str
    request: object
    """What is sent."""
    call: object
    """The same object whenever DSPy repeats a call that failed, and another for every other call."""
    prompt_tokens: Callable[[], int]
    """An estimate, by the length of its texts."""
    bound: int | None
    """Output tokens that it allows; None when it sets no bound."""
    candidates: int
    """Replies that it asks for."""
    send: Callable[[Flight], Any]
    """Sends it once, for an asynchronous engine as an awaitable."""
    read: Callable[[Any], tuple[Reply, Usage]]
    """What an answer says, and took."""
    whole: Callable[[Any], Any]
    """The answer, without halves of characters: a program could hand them to nobody."""
    is_heard: bool = False
    """Whether its replies come by a connection of ours: what of them its engine does not read can be read here."""
    own_timeout: float | None = None
    """Seconds that its LM was given."""
    ends_itself: bool = False
    """Whether sending ends when its flight does; else nobody waits for it any more."""
    may_ask_others: bool = False
    """Whether the engine may itself ask one: its first request is then this one."""
    repeats: int = 0
    """How often a reply that is none is asked for again here; 0 where DSPy does that itself."""


class Ticket:
    """A reservation and a place among the calls in flight, both given back exactly once."""

    def __init__(self, meter: Meter, reservation: Reservation, begun: int) -> None:
        self._meter, self._reservation, self._begun = meter, reservation, begun
        self._started = time.monotonic()
        self._open = True
        self._lock = threading.Lock()
        meter.sent()

    def close(self) -> bool:
        """Whether it was open until now."""
        with self._lock:
            was_open, self._open = self._open, False
        return was_open

    def answered(self, kind: tuple[str, str], took: Usage) -> Usage:
        """The endpoint replied; returns what that took, with its cost."""
        seconds = time.monotonic() - self._started
        self._meter.answered(kind, seconds)
        self._meter.limiter.leave(self._begun, refused=False)
        return self._meter.settle(self._reservation, took, seconds)

    def failed(self, error: BaseException) -> bool:
        """It did not, or it was given up; whether that was not known yet."""
        if not self.close():
            return False
        # An endpoint that is overloaded may also just fail or fall silent; only its word on the rate is taken for that.
        self._meter.limiter.leave(self._begun, refused=True if isinstance(error, RateLimitError) else None)
        if timed_out(error) or not isinstance(error, Exception):  # nobody knows what it took
            self._meter.spending.charge(self._reservation)
        else:
            self._meter.spending.settle(self._reservation)
        if isinstance(error, Exception):  # anything else came from outside
            self._meter.failed(error)
        return True


@dataclass(slots=True)
class _Offer:
    """The ticket of an engine that may ask another: the first request which that makes is the one it is for."""

    ticket: Ticket
    is_taken: bool = False


_OFFER: ContextVar[_Offer | None] = ContextVar("tfgrpo_offer", default=None)


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


class Way(Protocol):
    """How a thread, or a coroutine, waits."""

    def me(self) -> object:
        """Who waits."""

    async def until(self, ask: Callable[[Callable[[], None]], T | None]) -> T:
        """What `ask` gives; it is asked again whenever what it is handed was called."""

    async def rest(self, meter: Meter, seconds: float) -> None:
        """Wait, unless the run is stopped meanwhile."""

    async def send(self, errand: Errand, flight: Flight) -> Any:
        """One request, within this thread or task."""

    async def fly(self, attempt: Attempt) -> Any:
        """One request, or two if the first is slow and that is wanted; the first answer."""


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


async def _admit(scope: Scope, errand: Errand, way: Way) -> Ticket:
    """A ticket: that of the engine which makes this request, or a new one."""
    offer = _OFFER.get()
    if offer is not None and not offer.is_taken:
        offer.is_taken = True
        return offer.ticket
    meter = scope.meter
    reserve = partial(meter.spending.reserve_or_wake, _claim(scope, errand), way.me())
    reservation = await written(meter, way, errand.request, partial(way.until, reserve))
    try:
        begun = await way.until(partial(_enter, meter))
    except BaseException:
        meter.spending.release(reservation)
        raise
    return Ticket(meter, reservation, begun)


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


def _claim(scope: Scope, errand: Errand) -> Claim:
    kept = scope.meter.kept_from(scope.kind, scope.due)
    if not scope.meter.spending.needs_tokens:
        return Claim(errand.model, kept=kept)
    return Claim(errand.model, errand.prompt_tokens(), errand.bound, kept, errand.candidates)


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


class Beaten(BaseException):
    """The other of two requests was answered first."""


class Attempt:
    """One request on its way."""

    def __init__(self, scope: Scope, errand: Errand, ticket: Ticket, allowed: float) -> None:
        self.scope, self.errand, self.ticket = scope, errand, ticket
        self.flight = Flight(allowed, (errand.model, scope.kind))
        self._offer = _Offer(ticket)

    @property
    def hedge_after(self) -> float | None:
        """Seconds after which a second one may be sent; None when none may."""
        meter = self.scope.meter
        if not meter.can_hedge:
            return None
        delay = meter.hedging_delay((self.errand.model, self.scope.kind))
        return delay if delay is not None and delay < self.flight.seconds else None

    def hedge(self) -> Attempt | None:
        """The same request once more, if there is budget and a place for it now."""
        meter = self.scope.meter
        try:
            reservation = meter.spending.reserve(_claim(self.scope, self.errand), is_needed=False)
        except (OutOfBudget, StoreError):
            return None
        begun = None if reservation is None else meter.limiter.enter()
        if reservation is None or begun is None:
            if reservation is not None:
                meter.spending.release(reservation)
            return None
        meter.hedged()
        return Attempt(self.scope, self.errand, Ticket(meter, reservation, begun), self.flight.seconds)

    async def make(self, way: Way) -> Any:
        """Send it, and write down what became of it."""
        self.scope.meter.departs(self.flight)
        try:
            with self.offering():
                response = await self._sent(way)
        except BaseException as error:
            told = self._told(error)
            self.failed(told)
            if told is error:
                raise
            raise told from error
        finally:
            self.scope.meter.returns(self.flight)
        response = self.errand.whole(response)
        if not self._offer.is_taken:
            self._came(*self.errand.read(response))
        return response

    @contextmanager
    def offering(self) -> Iterator[None]:
        """The first request that is made within it by another engine, which this one asks, is the one of its ticket."""
        if not self.errand.may_ask_others:
            yield
            return
        token = _OFFER.set(self._offer)
        try:
            yield
        finally:
            _OFFER.reset(token)

    def late(self) -> Exception:
        """Its time is up: it is ended, whoever makes it, and written down."""
        error: Exception = self.flight.late()
        self.flight.cut(error)
        self.given_up()
        return error

    def given_up(self) -> None:
        """Written down now, as whoever makes it may never come back."""
        if self.flight.reason is not None:
            self.failed(self.flight.reason)
        self.scope.meter.returns(self.flight)

    def _came(self, reply: Reply, took: Usage) -> None:
        """Raises if the answer is none that can be used, though it is paid."""
        if not self.ticket.close():
            return
        meter, errand = self.scope.meter, self.errand
        took = self.ticket.answered((errand.model, self.scope.kind), took)
        self._hear(took)
        rule = meter.judge(reply, errand.model, errand.bound)
        fault = fault_in(rule, reply)
        if fault is not None:
            meter.failed(fault)
            raise fault
        if rule is not None and self.scope.listener is not None:
            self.scope.listener.remark = f"the endpoint answered {rule.said}"
        if self.scope.kind != POLICY and reply.is_cut:
            raise TooLongReply("the reply was cut off by the length limit of the model; answer more briefly")

    @contextmanager
    def streaming(self) -> Iterator[Callable[[Any], None]]:
        """While its reply comes in events, each of which is to be shown to what this gives."""
        seen = _Seen(self.errand.model)
        self.scope.meter.departs(self.flight)
        try:
            yield seen.event
        except BaseException as error:
            told = self._told(error)
            self.failed(told)
            if isinstance(told, Exception):
                raise _remember(self.scope.meter, self.errand, told) from error
            raise
        finally:
            self.scope.meter.returns(self.flight)
        _forget()
        if not self._offer.is_taken and self.ticket.close():
            _, took = self.errand.read(seen.response())
            self._hear(self.ticket.answered((self.errand.model, self.scope.kind), took))

    async def _sent(self, way: Way) -> Any:
        """Its reply; one that was not read for its token counts only is read once more without them."""
        try:
            return await way.send(self.errand, self.flight)
        except Exception:
            if not self._is_heard or not self._may_be_read_again():
                raise
            return await way.send(self.errand, self.flight)

    def _may_be_read_again(self) -> bool:
        from tfgrpo_dspy.lm.verdicts.bodies import without_odd_usage

        self.flight.replay = without_odd_usage(b"".join(self.flight.body))
        return self.flight.replay is not None

    @property
    def _is_heard(self) -> bool:
        """Whether a whole reply came, which can be looked at."""
        return self.errand.is_heard and self.flight.is_whole and self.flight.reason is None

    def _told(self, error: BaseException) -> BaseException:
        """Why it came to nothing."""
        if not self._is_heard or self.flight.status is None or not isinstance(error, Exception):
            return self.flight.reason or error
        from tfgrpo_dspy.lm.verdicts.bodies import heard

        return heard(error, self.flight.status, b"".join(self.flight.body))

    def failed(self, error: BaseException) -> None:
        """It is written down that it failed, unless it is already what became of it."""
        if self._offer.is_taken or not self.ticket.failed(error):
            return
        self.scope.meter.outages.failed(self.errand.model, self.errand.request, error)
        if isinstance(error, Exception):
            self._hear(Usage(lm_calls=1))

    def _hear(self, took: Usage) -> None:
        if self.scope.listener is not None:
            self.scope.listener.answered(took)


class _Seen:
    """What a streamed reply said so far."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._texts: list[str] = []
        self._end: Any = None

    def event(self, event: Any) -> None:
        """One more of its events."""
        if event.type == "end":
            self._end = event
        elif event.type == "delta" and isinstance(text := getattr(event.delta, "text", None), str):
            self._texts.append(text)

    def response(self) -> Response:
        """As much of it as is counted."""
        message = Message.assistant([TextPart("".join(self._texts))])
        finish = getattr(self._end, "finish_reason", None) or "stop"
        usage = getattr(self._end, "usage", None) or Counts()
        return Response(id=None, model=self._model, message=message, finish_reason=finish, usage=usage)
