"""How a thread, and how a coroutine, waits for a request: each blocks, or lets others go on, in its own way only."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from tfgrpo_dspy.lm.attempt import Attempt, Beaten, Errand
from tfgrpo_dspy.lm.flight import CLOCK, HELPERS, Flight, Job, flying
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.verdicts.replies import timed_out

T = TypeVar("T")


def drive(steps: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never really waits."""
    try:
        steps.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a coroutine waited where only a thread may")


class Thread:
    """A thread waits by blocking."""

    def me(self) -> object:
        """Which."""
        return threading.get_ident()

    async def until(self, ask: Callable[[Callable[[], None]], T | None]) -> T:
        """What `ask` gives."""
        asleep = threading.Lock()
        asleep.acquire()
        while (found := ask(asleep.release)) is None:
            asleep.acquire()
        return found

    async def rest(self, meter: Meter, seconds: float) -> None:
        """Sleep, unless the run is stopped."""
        asleep, me = threading.Lock(), self.me()
        asleep.acquire()
        meter.wake_at_stop(me, asleep.release)
        asleep.acquire(timeout=seconds)
        meter.wake_at_stop(me, None)

    async def send(self, errand: Errand, flight: Flight) -> Any:
        """One request."""
        with flying(flight):
            return errand.send(flight)

    async def fly(self, attempt: Attempt) -> Any:
        """One request in this thread, or two."""
        made = attempt.make(self) if attempt.errand.ends_itself else _watched(attempt)
        delay = attempt.hedge_after
        if delay is None:
            return await made
        race = _Race(attempt)
        CLOCK.at(attempt.flight.started + delay, race.hedge)
        try:
            response = await made
        except Exception as error:  # noqa: BLE001 - the second one may be answered
            return race.second_after(error)
        except Beaten:
            return race.second_after(None)
        finally:
            race.end()
        return response


async def _watched(attempt: Attempt) -> Any:
    """A request that a helper makes, as nothing would end it but not to wait for it."""
    job = HELPERS.start(partial(drive, attempt.make(THREAD)))
    attempt.flight.ended_by(job.leave)
    if not job.wait(attempt.flight.seconds):
        raise attempt.late()
    if job.is_left:
        attempt.given_up()
        raise attempt.flight.reason or attempt.flight.late()
    return job.result()


class _Race:
    """Between a request and the second one that is sent for it when it is slow."""

    def __init__(self, first: Attempt) -> None:
        self._first, self._context = first, copy_context()
        self._second: Attempt | None = None
        self._job: Job[Any] | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def hedge(self) -> None:
        """Send the second one, unless the first is back, or it may not be."""
        with self._lock:
            if self._is_over or (second := self._first.hedge()) is None:
                return
            self._second, self._job = second, HELPERS.start(partial(self._make, second), self._context)
            if not second.errand.ends_itself:
                second.flight.ended_by(self._job.leave)

    def _make(self, second: Attempt) -> Any:
        response = drive(second.make(THREAD))
        self._first.flight.cut(Beaten())
        return response

    def second_after(self, error: Exception | None) -> Any:
        """The second's answer, once the first failed or was ended for it; without one, the error."""
        with self._lock:
            self._is_over, second, job = True, self._second, self._job
        if second is None or job is None or (error is not None and timed_out(error)):
            raise error or RuntimeError("a request was ended for a second one that there is not")
        if job.wait(max(second.flight.ends - time.monotonic(), 0.0)) and job.error is None and not job.is_left:
            return job.result()
        raise error or second.late()

    def end(self) -> None:
        """Nobody waits for the second any more."""
        with self._lock:
            self._is_over = True
            if self._second is not None:
                self._second.flight.cut(Beaten())
                if not self._second.errand.ends_itself:
                    self._second.given_up()


class Task:
    """A coroutine waits by letting others go on."""

    def me(self) -> object:
        """Which task."""
        return asyncio.current_task()

    async def until(self, ask: Callable[[Callable[[], None]], T | None]) -> T:
        """What `ask` gives."""
        while True:
            woken = _Wakeup()
            if (found := ask(woken)) is not None:
                return found
            await woken.future

    async def rest(self, meter: Meter, seconds: float) -> None:
        """Sleep, unless the run is stopped."""
        woken, me = _Wakeup(), self.me()
        meter.wake_at_stop(me, woken)
        await asyncio.wait([woken.future], timeout=seconds)
        meter.wake_at_stop(me, None)

    async def send(self, errand: Errand, flight: Flight) -> Any:
        """One request."""
        with flying(flight):
            sending: Awaitable[Any] = errand.send(flight)
            return await sending

    async def fly(self, attempt: Attempt) -> Any:
        """One request, or two."""
        making, failed = {self._begin(attempt): attempt}, None
        delay = attempt.hedge_after
        try:
            while making:
                left = attempt.flight.ends - time.monotonic()
                ended, _ = await asyncio.wait(
                    making, timeout=left if delay is None else min(left, delay), return_when=asyncio.FIRST_COMPLETED
                )
                if not ended and delay is None:
                    raise attempt.late()
                if not ended and (second := attempt.hedge()) is not None:
                    making[self._begin(second)] = second
                delay = None
                for task in ended:
                    del making[task]
                    if task.exception() is None:
                        return task.result()
                    failed = failed or task.exception()
            raise failed or attempt.flight.late()
        finally:
            for task, other in making.items():
                other.flight.cut(Beaten())
                task.cancel()

    def _begin(self, attempt: Attempt) -> asyncio.Task[Any]:
        loop = asyncio.get_running_loop()
        task = loop.create_task(attempt.make(self))
        task.add_done_callback(_look)
        attempt.flight.ended_by(partial(_cancel, loop, task))
        return task


def _look(task: asyncio.Task[Any]) -> None:
    """So that asyncio does not tell of an error that nobody waited for."""
    if not task.cancelled():
        task.exception()


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(task.cancel)


class _Wakeup:
    """Wakes a coroutine from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def __call__(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


THREAD, TASK = Thread(), Task()
