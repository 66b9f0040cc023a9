"""The one thread pool of a run: bounded, in the caller's dspy context, with continuations instead of waiting.

A task never waits for another task (in a full pool it would wait for ever); what depends on others is submitted when
they are done. Events that tasks announce are handed to the observer in the thread that asked for the results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from tfgrpo_dspy.lm.budget import OutOfBudget
from tfgrpo_dspy.lm.engine import written
from tfgrpo_dspy.lm.scope import active_meter
from tfgrpo_dspy.lm.ways import THREAD, drive
from tfgrpo_dspy.looks.secrets import SECRETS
from tfgrpo_dspy.records.advantages import Extraction, Summary
from tfgrpo_dspy.records.events import Event, ReflectionFinished
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.runtime.executor import Here, Place
from tfgrpo_dspy.runtime.pool import Pool
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.text import fingerprint

_AT_ONCE = 0.02
"""Seconds in which events are collected, once there was one."""

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_PARTING = 0.1
"""Seconds that what is in flight has when a person interrupts a run: it is made again when the run is taken up."""


class Recalled(NamedTuple, Generic[R]):
    """What a task made."""

    made: R
    is_remembered: bool
    """Whether it was an earlier process of the same run that made it."""


class Workers:
    """A bounded pool whose tasks see the dspy context of the thread that made it.

    Args:
        num_threads: Tasks at once, >= 1. As each task makes its LM calls one after the other, it bounds the LM calls
            in flight over all stages of a run together.
        announce: Receives the events which tasks announce, one at a time, in the thread that calls `results`.
        store: Where tasks keep their results, so that a killed run is taken up; None keeps nothing but long texts.
        place: Where rollouts run; None for the threads of this pool.
        at_once: Receives the same events as soon as they are announced, in the thread that does.
    """

    def __init__(
        self,
        num_threads: int,
        announce: Callable[[Event], None] = lambda event: None,
        store: Store | None = None,
        place: Place | None = None,
        at_once: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._pool = Pool(num_threads)
        self.store = store or Store()
        self.place = place or Here()
        self._context = copy_context()
        self._announce, self._at_once = announce, at_once
        self._announced: SimpleQueue[Event | Future[Any]] = SimpleQueue()
        self._error: BaseException | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # After an error, what has not started never starts, and nobody waits for what is in flight; a person who
        # interrupts the run is gone within half a second, and what comes back until then is kept.
        if error is None:
            self._pool.close()
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        if (meter := active_meter()) is not None:
            why = "the run was interrupted" if interrupted else "the run was stopped by an error"
            meter.stop(why, _PARTING if interrupted else None)
        self._pool.close(1.5 * _PARTING if interrupted else 0.0, drop=True)

    def announce(self, event: Event) -> None:
        """Hand an event to the observer; from any thread."""
        self._at_once(event)
        self._announced.put(event)

    def submit(self, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a task in the pool."""
        return self._pool.submit(partial(self._run, partial(task, *args, **kwargs)))

    def submit_all(self, tasks: Sequence[Callable[[], R]]) -> Future[list[R]]:
        """Run tasks in the pool; one future of all results, in the given order, or of the first error among them."""
        gathering = _Gathering[R](len(tasks))
        for place, task in enumerate(tasks):
            self._pool.put(partial(self._run, task), _Share(gathering, place))
        return gathering.result

    def task(self, name: str, kind: Any, make: Callable[[], R], *, reads: Iterable[str] = ()) -> Future[R]:
        """Ask the reflection LM in the pool: what is made is remembered, and announced.

        Args:
            name: The task's name; with what it reads, it is the same in every run that would come out the same.
            kind: Type of what is made, see `remember`.
            make: Makes it.
            reads: All texts that it depends on.
        """
        return self.submit(self.asking(name, kind, make, reads=reads))

    def asking(self, name: str, kind: Any, make: Callable[[], R], *, reads: Iterable[str] = ()) -> Callable[[], R]:
        """The same, to be run in the pool."""
        return partial(self._reflect, f"{name} {fingerprint(*reads)}", kind, make)

    def remember(self, name: str, kind: Any, make: Callable[[], R], *, reads: Iterable[str] = ()) -> R:
        """What is remembered of the task, or what it makes here and now; the arguments are those of `task`.

        Its kind is a type that can be read back: a dataclass, a union or a tuple of such.
        """
        return self.recall(f"{name} {fingerprint(*reads)}", kind, make).made

    def recall(self, known_as: str, kind: Any, make: Callable[[], R]) -> Recalled[R]:
        """The same, by the whole name of the task, and whether it was remembered."""
        found: R | None = self.store.find(known_as, kind)
        if found is not None:
            return Recalled(found, True)
        self._wait_for_the_disk(known_as)
        return Recalled(self.store.keep(known_as, kind, SECRETS.hide_in(make())), False)

    def _wait_for_the_disk(self, known_as: str) -> None:
        """Nothing new starts while what was paid for cannot be kept, whoever makes the calls of the task."""
        meter = active_meter()
        if self.store.is_behind and meter is not None:

            async def flush() -> None:
                self.store.flush()

            with suppress(OutOfBudget):  # as the task will hear when it asks
                drive(written(meter, THREAD, known_as, flush))

    def _reflect(self, known_as: str, kind: Any, make: Callable[[], R]) -> R:
        made, is_remembered = self.recall(known_as, kind, make)
        if isinstance(made, Summary | Extraction | Update):
            self.announce(ReflectionFinished(made, is_remembered))
        return made

    def gather(self, futures: Sequence[Future[R]]) -> Future[list[R]]:
        """One future of all results, in the given order; the first error among them is its error."""
        gathering = _Gathering[R](len(futures))
        for place, future in enumerate(futures):
            future.add_done_callback(partial(gathering.hear, place))
        return gathering.result

    def then(self, future: Future[R], task: Callable[[R], S]) -> Future[S]:
        """Run `task` in the pool on the future's result, once it is there."""
        return self.bind(future, lambda value: self.submit(task, value))

    def bind(self, future: Future[R], follow: Callable[[R], Future[S]]) -> Future[S]:
        """The future that `follow` makes of the future's result; `follow` itself must be quick, it uses no LM."""
        outcome: Future[S] = Future()
        outcome.set_running_or_notify_cancel()

        def on_done(done: Future[R]) -> None:
            error = _error_of(done)
            if error is not None:
                outcome.set_exception(error)
                return
            try:
                followed = follow(done.result())
            except Exception as mistake:  # noqa: BLE001 - it would be lost in the pool; whoever waits must see it
                outcome.set_exception(mistake)
            else:
                followed.add_done_callback(lambda last: _copy(last, outcome))

        future.add_done_callback(on_done)
        return outcome

    def results(self, futures: Sequence[Future[R]]) -> list[R]:
        """Wait for all results, in the given order, handing on events meanwhile; raises the first error at once."""
        everything, is_over = self.gather(futures), threading.Event()
        everything.add_done_callback(lambda _: is_over.set())
        everything.add_done_callback(self._announced.put)
        while (event := self._announced.get()) is not everything:
            if not isinstance(event, Future):  # of results that nobody waited for to the end
                self._announce(event)
            if self._announced.empty():
                is_over.wait(_AT_ONCE)  # to be woken by each event costs more than to take it
        try:
            return everything.result()
        except CancelledError:
            if self._error is not None:
                raise self._error from None
            raise

    def _run(self, task: Callable[[], R]) -> R:
        if self._error is not None:  # no task starts after one has failed, however late the caller notices
            raise CancelledError("the run was stopped")
        try:
            return self._context.copy().run(task)
        except BaseException as error:
            self._error = error
            raise


def done(value: R) -> Future[R]:
    """A future that has its result already."""
    future: Future[R] = Future()
    future.set_result(value)
    return future


class _Gathering(Generic[R]):
    """Counts results down; the first error ends it."""

    def __init__(self, size: int) -> None:
        self.result: Future[list[R]] = Future()
        self.result.set_running_or_notify_cancel()
        self._found: list[Any] = [None] * size
        self._lock = threading.Lock()
        self._awaited = size
        if not size:
            self.result.set_result([])

    def hear(self, place: int, future: Future[R]) -> None:
        """One of them is there."""
        error = _error_of(future)
        if error is not None:
            self.fail(error)
        else:
            self.take(place, future.result())

    def take(self, place: int, found: R) -> None:
        """One of them."""
        self._found[place] = found
        with self._lock:
            self._awaited -= 1
            is_complete = self._awaited == 0
        if is_complete:
            self.result.set_result(self._found)

    def fail(self, error: BaseException) -> None:
        """There is an error in place of one."""
        with self._lock:
            # After the first one the count can no longer reach zero, so the result is settled once.
            is_first, self._awaited = self._awaited >= 0, -1
        if is_first:
            self.result.set_exception(error)


@dataclass(slots=True)
class _Share(Generic[R]):
    """One of several results that nobody waits for alone: a future for each of 10 000 tasks that wait takes 20 MB."""

    gathering: _Gathering[R]
    place: int

    def set_running_or_notify_cancel(self) -> bool:
        return True

    def set_result(self, result: R) -> None:
        self.gathering.take(self.place, result)

    def set_exception(self, exception: BaseException) -> None:
        self.gathering.fail(exception)

    def cancel(self) -> bool:
        self.gathering.fail(CancelledError("the run was stopped"))
        return True


def _error_of(future: Future[R]) -> BaseException | None:
    return CancelledError("the run was stopped") if future.cancelled() else future.exception()


def _copy(source: Future[R], target: Future[R]) -> None:
    error = _error_of(source)
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())
