"""LMs whose every request passes the meter of the run.

A metered LM is a copy of the user's whose class overrides `__call__` and `acall`; DSPy's own execution stands behind
them, so that callbacks, history, usage and cache work as ever. Answers from the cache pass without being counted, and
each attempt, retry and hedge is a request of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import dspy
from dspy.clients import execution
from dspy.clients._deprecation import warn_legacy_lm, warn_openai_messages
from dspy.utils.callback import with_callbacks
from dspy.utils.exceptions import LMError, LMTimeoutError

from tfgrpo_dspy.lm.budget import OutOfBudget
from tfgrpo_dspy.lm.listening import Told
from tfgrpo_dspy.lm.meter import POLICY, Meter, active_meter
from tfgrpo_dspy.lm.replies import is_cut, may_pass, timed_out
from tfgrpo_dspy.lm.request import Race, Ticket, attempt_of, retries_of, takes_timeout
from tfgrpo_dspy.lm.unmetered import Guard

_GLANCE = 0.5
"""Seconds after which a call without a known timeout is looked at again."""
_POLL = 0.01
"""Seconds between looks of a coroutine at a budget or a limiter, which it must not block on."""


class TooLongReply(ValueError):
    """A reply of the reflection LM that its length limit cut off; half a summary is none."""


class Metered:
    """Mixin over the class of an LM; see `copy_lm`."""

    tfgrpo_meter: Meter
    tfgrpo_role: str
    tfgrpo_tells = True

    @with_callbacks  # type: ignore[untyped-decorator]
    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """As DSPy's own, each request metered."""
        with Told() as told:
            call = execution.prepare(self, prompt, messages, kwargs)
            if not call.managed:
                warn_legacy_lm()
            warn_openai_messages(self, messages)
            result = execution._cached(self, call, False)
            if result is None:
                result = _persist(self, call)
                execution._store(self, call, result, False)
            _check_length(self, result)
            told.result = result
            return execution.finalize(self, call, result)

    @with_callbacks  # type: ignore[untyped-decorator]
    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """As DSPy's own, each request metered; without hedging."""
        with Told() as told:
            call = await asyncio.to_thread(execution.prepare, self, prompt, messages, kwargs, asynchronous=True)
            if not call.managed:
                warn_legacy_lm()
            warn_openai_messages(self, messages)
            result = await asyncio.to_thread(execution._cached, self, call, True) if call.cache else None
            if result is None:
                result = await _apersist(self, call)
                if call.cache:
                    await asyncio.to_thread(execution._store, self, call, result, True)
            _check_length(self, result)
            told.result = result
            return execution.finalize(self, call, result)


@contextmanager
def metering(meter: Meter) -> Iterator[None]:
    """LMs copied by `copy_lm` ask the meter, also in the workers of a pool made meanwhile; the configured LM is one."""
    with meter.active():
        configured = dspy.settings.lm
        with dspy.context(lm=None if configured is None else copy_lm(configured)):
            yield


def copy_lm(lm: dspy.BaseLM, role: str = POLICY, **changed: Any) -> dspy.BaseLM:
    """`lm.copy(**changed)`, metered if a run is under way; an LM that is metered already stays with its meter."""
    copied, meter = lm.copy(**changed), active_meter()
    kind: Any = type(copied)
    if isinstance(copied, Metered):
        copied.tfgrpo_role = role
    elif meter is not None and (metered := _metered_class(kind)) is not None:
        copied.__class__ = metered
        copied.tfgrpo_meter, copied.tfgrpo_role = meter, role
    elif meter is not None:  # it answers calls in a way of its own; they are counted from outside
        copied.callbacks = [*copied.callbacks, Guard(meter, counts_all=True)]
        copied.tfgrpo_meter = meter
    return copied


def share_lm(lm: dspy.BaseLM, role: str) -> dspy.BaseLM:
    """`copy_lm(lm, role)`, but one copy for all calls of a run, as copying takes DSPy 0.03 ms.

    An LM that is not metered is copied each time: what a call took is found in the history of its copy.
    """
    meter = active_meter()
    if meter is None:
        return copy_lm(lm, role)
    found = meter.shared.get((id(lm), role))
    if found is not None:
        return found[1]
    copied = copy_lm(lm, role)
    if isinstance(copied, Metered):
        meter.shared[id(lm), role] = lm, copied
    return copied


@lru_cache(maxsize=256)
def _metered_class(kind: type[dspy.BaseLM]) -> type[dspy.BaseLM] | None:
    """The metered subclass of an LM's class; None if it answers calls in a way of its own."""
    if kind.__call__ is not dspy.BaseLM.__call__ or kind.acall is not dspy.BaseLM.acall:
        return None
    return type(kind.__name__, (Metered, kind), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})


def _persist(lm: Any, call: Any) -> Any:
    """A reply, asking again after failures that may pass."""
    meter, retries, timeouts = lm.tfgrpo_meter, retries_of(lm, call), 0
    for attempt in range(retries + 1):
        try:
            return _ask(meter, lm, call, timeouts)
        except LMError as error:
            if attempt == retries or not may_pass(error):
                raise
            timeouts += timed_out(error)
            meter.pause(meter.wait(lm, error, attempt))
    raise AssertionError("a loop over at least one attempt returns or raises")


def _ask(meter: Meter, lm: Any, call: Any, timeouts: int) -> Any:
    """One request, or two if the first is slow and that is wanted."""
    kind = lm.model, lm.tfgrpo_role
    ticket = Ticket.reserve(meter, lm, call)
    ticket.depart()
    native = takes_timeout(lm, call)
    allowed = meter.allowed(kind, timeouts) if native or meter.fixed_timeout else None
    needs_no_watch = native == (allowed is not None)  # DSPy keeps the time, or nobody is to
    if needs_no_watch and not meter.can_hedge:
        return _send(meter, lm, call, ticket, allowed)
    race: Race[Any] = Race()
    race.enter(partial(_send, meter, lm, call, ticket, allowed if native else None))
    return _await(meter, lm, call, race, _Wait(kind, timeouts, native, ticket))


@dataclass(slots=True)
class _Wait:
    """How a call is waited for that runs in a helper thread."""

    kind: tuple[str, str]
    timeouts: int
    is_native: bool
    ticket: Ticket
    started: float = field(default_factory=time.monotonic)
    error: BaseException | None = None
    """The first failure."""

    @property
    def waited(self) -> float:
        """Seconds."""
        return time.monotonic() - self.started

    def patience(self, meter: Meter) -> float | None:
        """Seconds it may take in all, by what is known now; DSPy's own timeout, if there is one, comes first."""
        allowed = meter.allowed(self.kind, self.timeouts) if self.is_native or meter.fixed_timeout else None
        return None if allowed is None else allowed + (_GLANCE if self.is_native else 0.0)


def _await(meter: Meter, lm: Any, call: Any, race: Race[Any], wait: _Wait) -> Any:
    """The first answer; a call that takes longer than, by now, calls of its kind may take is given up."""
    hedged = False
    while race.running:
        patience, delay = wait.patience(meter), None if hedged else meter.hedging_delay(wait.kind)
        next_look = min([_GLANCE, *(at - wait.waited for at in (patience, delay) if at is not None)])
        ended = race.next(max(next_look, 0.0))
        if ended is not None and ended.error is None:
            return ended.value
        if ended is not None:
            wait.error = wait.error or ended.error
            continue
        if delay is not None and wait.waited >= delay:
            hedged = _hedge(meter, lm, call, race)
        if patience is not None and wait.waited >= patience:
            error = _late(lm, patience)
            wait.ticket.failed(error)
            raise error
    assert wait.error is not None
    raise wait.error


def _hedge(meter: Meter, lm: Any, call: Any, race: Race[Any]) -> bool:
    """Whether this is settled: a second request was sent, or there is no budget for one."""
    try:
        ticket = Ticket.try_reserve(meter, lm, call, is_needed=False)
    except OutOfBudget:
        return True  # nor later
    if ticket is None:
        return False
    if not ticket.depart(wait=False):
        ticket.cancel()
        return False
    meter.hedged()
    allowed = meter.allowed((lm.model, lm.tfgrpo_role), 0) if takes_timeout(lm, call) else None
    race.enter(partial(_send, meter, lm, call, ticket, allowed))
    return True


def _send(meter: Meter, lm: Any, call: Any, ticket: Ticket, timeout: float | None) -> Any:
    """One request, accounted for."""
    with ticket:
        result = execution.execute(*attempt_of(lm, call, timeout, ticket.pool))
    ticket.answered((lm.model, lm.tfgrpo_role), result)
    meter.judge(lm, result)
    return result


async def _apersist(lm: Any, call: Any) -> Any:
    meter, retries, timeouts = lm.tfgrpo_meter, retries_of(lm, call), 0
    for attempt in range(retries + 1):
        try:
            return await _aask(meter, lm, call, timeouts)
        except LMError as error:
            if attempt == retries or not may_pass(error):
                raise
            timeouts += timed_out(error)
            await asyncio.sleep(meter.wait(lm, error, attempt))
    raise AssertionError("a loop over at least one attempt returns or raises")


async def _aask(meter: Meter, lm: Any, call: Any, timeouts: int) -> Any:
    kind = lm.model, lm.tfgrpo_role
    while (ticket := Ticket.try_reserve(meter, lm, call)) is None:
        await asyncio.sleep(_POLL)
    with ticket:
        while not ticket.depart(wait=False):
            await asyncio.sleep(_POLL)
        allowed = meter.allowed(kind, timeouts) if takes_timeout(lm, call) else None
        asked = execution.aexecute(*attempt_of(lm, call, allowed, ticket.pool))
        try:
            result = await asyncio.wait_for(asked, meter.fixed_timeout)
        except TimeoutError as error:
            raise _late(lm, meter.fixed_timeout or 0.0) from error
    ticket.answered(kind, result)
    meter.judge(lm, result)
    return result


def _late(lm: Any, seconds: float) -> LMTimeoutError:
    return LMTimeoutError(f"no answer within {seconds:g} s; the request was given up", model=lm.model)


def _check_length(lm: Any, result: Any) -> None:
    if lm.tfgrpo_role != POLICY and is_cut(result):
        raise TooLongReply("the reply was cut off by the length limit of the model; answer more briefly")
