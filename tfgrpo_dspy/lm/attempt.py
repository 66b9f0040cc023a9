"""One request on its way: what it is, what it may take, and what became of it, written down exactly once."""

from __future__ import annotations

import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from dspy.lm15 import RateLimitError

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.lm.account import Claim, Reservation
from tfgrpo_dspy.lm.budget import POLICY, OutOfBudget
from tfgrpo_dspy.lm.flight import Flight
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.scope import Scope
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.lm.verdicts.facts import SUCCESS
from tfgrpo_dspy.lm.verdicts.replies import Reply, TooLongReply, fault_in, timed_out

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


class Place(NamedTuple):
    """A reservation and a place among the calls in flight."""

    scope: Scope
    reservation: Reservation
    begun: int


class Admission:
    """The places of a request, in its run and in those that this is part of, all given back exactly once."""

    def __init__(self, *places: Place) -> None:
        self._places = places
        self._started = time.monotonic()
        self._open = True
        self._lock = threading.Lock()
        for place in places:
            place.scope.meter.sent()

    def close(self) -> bool:
        """Whether it was open until now."""
        with self._lock:
            was_open, self._open = self._open, False
        return was_open

    def answered(self, model: str, took: Usage) -> None:
        """The endpoint replied."""
        seconds = time.monotonic() - self._started
        for scope, reservation, begun in self._places:
            scope.meter.answered((model, scope.kind), seconds)
            scope.meter.limiter.leave(begun, refused=False)
            scope.hear(scope.meter.settle(reservation, took, seconds))

    def failed(self, error: BaseException) -> bool:
        """It did not, or it was given up; whether that was not known yet."""
        if not self.close():
            return False
        for scope, reservation, begun in self._places:
            # An endpoint that is overloaded may also just fail or fall silent; only its word on the rate counts here.
            scope.meter.limiter.leave(begun, refused=True if isinstance(error, RateLimitError) else None)
            if timed_out(error) or not isinstance(error, Exception):  # nobody knows what it took
                scope.meter.spending.charge(reservation)
            else:
                scope.meter.spending.settle(reservation)
            if isinstance(error, Exception):  # anything else came from outside
                scope.meter.failed(error)
                scope.hear(Usage(lm_calls=1))
        return True


@dataclass(slots=True)
class Offer:
    """The admission of an engine that may ask another: the first request which that makes is the one it is for."""

    admission: Admission
    is_taken: bool = False


OFFER: ContextVar[Offer | None] = ContextVar("tfgrpo_offer", default=None)


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


def claim_of(scope: Scope, errand: Errand) -> Claim:
    """What a request is expected to take."""
    kept = scope.meter.kept_from(scope.kind, scope.due)
    if not scope.meter.spending.needs_tokens:
        return Claim(errand.model, kept=kept)
    return Claim(errand.model, errand.prompt_tokens(), errand.bound, kept, errand.candidates)


class Beaten(BaseException):
    """The other of two requests was answered first."""


class Attempt:
    """One request on its way."""

    def __init__(self, scope: Scope, errand: Errand, admission: Admission, allowed: float) -> None:
        self.scope, self.errand, self.admission = scope, errand, admission
        self.flight = Flight(allowed, (errand.model, scope.kind))
        self.offer = Offer(admission)

    @property
    def hedge_after(self) -> float | None:
        """Seconds after which a second one may be sent; None when none may."""
        meter = self.scope.meter
        if not meter.can_hedge or self.scope.around is not None:
            return None
        delay = meter.hedging_delay((self.errand.model, self.scope.kind))
        return delay if delay is not None and delay < self.flight.seconds else None

    def hedge(self) -> Attempt | None:
        """The same request once more, if there is budget and a place for it now."""
        meter = self.scope.meter
        try:
            reservation = meter.spending.reserve(claim_of(self.scope, self.errand), is_needed=False)
        except (OutOfBudget, StoreError):
            return None
        begun = None if reservation is None else meter.limiter.enter()
        if reservation is None or begun is None:
            if reservation is not None:
                meter.spending.release(reservation)
            return None
        meter.hedged()
        place = Place(self.scope, reservation, begun)
        return Attempt(self.scope, self.errand, Admission(place), self.flight.seconds)

    async def make(self, way: Way) -> Any:
        """Send it, and write down what became of it."""
        self.scope.meter.departs(self.flight)
        try:
            with self.offering():
                response = await self._sent(way)
        except BaseException as error:
            told = self.told(error)
            self.failed(told)
            if told is error:
                raise
            raise told from error
        finally:
            self.scope.meter.returns(self.flight)
        response = self.errand.whole(response)
        if not self.offer.is_taken:
            self.came(*self.errand.read(response))
        return response

    @contextmanager
    def offering(self) -> Iterator[None]:
        """The first request that another engine makes within it, as this one asks it, is the one that was admitted."""
        if not self.errand.may_ask_others:
            yield
            return
        token = OFFER.set(self.offer)
        try:
            yield
        finally:
            OFFER.reset(token)

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

    def came(self, reply: Reply, took: Usage) -> None:
        """Raises if the answer is none that can be used, though it is paid."""
        if not self.admission.close():
            return
        meter, errand = self.scope.meter, self.errand
        self.admission.answered(errand.model, took)
        rule = meter.judge(reply, errand.model, errand.bound)
        fault = fault_in(rule, reply)
        if fault is not None:
            meter.failed(fault)
            raise fault
        if rule is not None and self.scope.listener is not None:
            self.scope.listener.remark = f"the endpoint answered {rule.said}"
        if self.scope.kind != POLICY and reply.is_cut:
            raise TooLongReply("the reply was cut off by the length limit of the model; answer more briefly")

    async def _sent(self, way: Way) -> Any:
        """Its reply; one that was not read for its token counts only is read once more without them."""
        try:
            return await way.send(self.errand, self.flight)
        except Exception:
            if not self._came_whole or not self._may_be_read_again():
                raise
            return await way.send(self.errand, self.flight)

    def _may_be_read_again(self) -> bool:
        if self.flight.status not in SUCCESS:
            return False
        from tfgrpo_dspy.lm.verdicts.bodies import without_odd_usage

        self.flight.replay = without_odd_usage(b"".join(self.flight.body))
        return self.flight.replay is not None

    @property
    def _came_whole(self) -> bool:
        """Whether a whole reply came, which can be looked at."""
        return self.errand.is_heard and self.flight.is_whole and self.flight.reason is None

    def told(self, error: BaseException) -> BaseException:
        """Why it came to nothing."""
        if isinstance(self.flight.reason, Beaten) and isinstance(error, CancelledError):
            return error  # asyncio would tell people of any other
        if not self._came_whole or self.flight.status is None or not isinstance(error, Exception):
            return self.flight.reason or error
        from tfgrpo_dspy.lm.verdicts.bodies import heard

        return heard(error, self.flight.status, b"".join(self.flight.body))

    def failed(self, error: BaseException) -> None:
        """It is written down that it failed, unless it is already what became of it."""
        if self.offer.is_taken or not self.admission.failed(error):
            return
        self.scope.meter.outages.failed(self.errand.model, self.errand.request, error)
