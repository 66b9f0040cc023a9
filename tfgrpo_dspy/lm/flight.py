"""One request on its way: how long it may still take, how large its reply may be, and how to end it from outside."""

from __future__ import annotations

import ctypes
import heapq
import logging
import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from http import HTTPStatus
from itertools import count
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit, urlunsplit

from dspy.lm15 import ProviderError, TransportError
from dspy.lm15 import TimeoutError as LMTimeout

logger = logging.getLogger(__name__)

LARGEST = 64 * 2**20
"""Bytes of a reply at most; the longest that models write is a hundredth of it, images are some megabytes."""

_STATUSES, _REDIRECTION = range(200, 600), 3

T = TypeVar("T")


class Flight:
    """One request on its way.

    Args:
        seconds: That it may take in all, over connecting, headers and body.
    """

    __slots__ = (
        *("_end", "_lock", "body", "ends", "is_over", "is_whole", "kind", "reason", "replay", "seconds", "started"),
        *("status", "took"),
    )

    def __init__(self, seconds: float, kind: tuple[str, str] = ("", "")) -> None:
        self.seconds = seconds
        self.kind = kind
        """Model and what it is asked for."""
        self.started = time.monotonic()
        self.ends = self.started + seconds
        self.took = 0
        """Bytes of the reply so far."""
        self.status: int | None = None
        """Of HTTP, once its head was read."""
        self.body: list[bytes] = []
        """The reply, as far as it was read."""
        self.is_whole = False
        """Whether it was read to its end."""
        self.replay: bytes | None = None
        """A reply to be read once more, in place of sending the request."""
        self.reason: BaseException | None = None
        """Why it was ended from outside; None unless it was."""
        self.is_over = False
        self._end: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def late(self) -> LMTimeout:
        """The error of one that took too long."""
        return LMTimeout(f"no answer within {self.seconds:g} s; the request was given up")

    def hasten(self, seconds: float) -> None:
        """It may take only so long after all."""
        if seconds < self.seconds:
            self.seconds, self.ends = seconds, self.started + seconds
            CLOCK.at(self.ends, lambda: self.cut(self.late()))

    def left(self) -> float:
        """Seconds that it may still take, > 0.

        Raises:
            LMTimeout: None.
        """
        seconds = self.ends - time.monotonic()
        if seconds <= 0:
            raise self.over(self.late())
        return seconds

    def over(self, error: Exception) -> Exception:
        """It ends with this error, whatever becomes of it in the hands of those who pass it on."""
        self.reason = self.reason or error
        return error

    def asks(self) -> None:
        """It goes out.

        Raises:
            ProviderError: It was refused before; LiteLLM would ask again with other messages, which nobody counts.
        """
        if self.status is not None and self.status >= HTTPStatus.BAD_REQUEST:
            said = b"".join(self.body).decode(errors="replace")
            raise self.over(ProviderError(said, status=self.status))

    def headed(self, status: int, location: str | None) -> None:
        """The head of the reply came.

        Raises:
            TransportError: It is none.
            ProviderError: It sends elsewhere, which is not followed: that would be a request which nobody counted.
        """
        self.status = status
        if status not in _STATUSES:  # DSPy takes "100 Continue" for the answer
            raise self.over(TransportError(f"HTTP {status} is the head of no reply"))
        if status // 100 == _REDIRECTION:
            place = urlsplit(location or "elsewhere")
            to = urlunsplit(place._replace(netloc=place.netloc.rpartition("@")[2], query="", fragment=""))
            raise self.over(ProviderError(f"HTTP {status}: the endpoint redirects to {to}", status=status))

    def received(self, size: int) -> None:
        """So many more bytes came.

        Raises:
            TransportError: They are too many.
        """
        self.took += size
        if self.took > LARGEST:
            raise self.over(TransportError(f"the reply is larger than {LARGEST >> 20} MiB and was given up"))

    def read(self, body: bytes) -> None:
        """The reply was read to its end."""
        self.body, self.is_whole = [body], True

    def ended_by(self, end: Callable[[], object] | None) -> None:
        """From now on, this ends it; None while nothing does."""
        with self._lock:
            self._end = end
            if end is not None and self.reason is not None:
                end()

    def cut(self, reason: BaseException) -> None:
        """End it from another thread; whoever waits for it gets the reason."""
        with self._lock:
            if self.reason is None and not self.is_over:
                self.reason = reason
                if self._end is not None:
                    self._end()

    def land(self) -> None:
        """It came back, one way or another: nothing can end it any more."""
        with self._lock:
            self.is_over, self._end = True, None
        self.body = []


FLIGHT: ContextVar[Flight | None] = ContextVar("tfgrpo_flight", default=None)
"""The request that the present thread or task makes."""


@contextmanager
def flying(flight: Flight) -> Iterator[None]:
    """What is sent within it is this request."""
    token = FLIGHT.set(flight)
    try:
        yield
    finally:
        FLIGHT.reset(token)


def shut(sock: socket.socket) -> None:
    """Wake whoever reads from a socket: there is nothing more to come."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _GivenUp(BaseException):
    """Raised within a helper thread that nobody waits for any more."""


class Job(Generic[T]):
    """A task in a helper thread."""

    def __init__(self, task: Callable[[], T]) -> None:
        self._task = task
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._thread: int | None = None
        self.is_left = False
        """Whether nobody waits for it any more."""
        self.value: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do it, in the helper."""
        with self._lock:
            self._thread = threading.get_ident()
        try:
            self.value = self._task()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it must see it
            self.error = error
        with self._lock:
            self._thread = None
        self._done.set()

    def wait(self, seconds: float | None) -> bool:
        """Whether it ended within the time, or was left."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """What it returned, or its error raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]

    def leave(self) -> None:
        """Wait no longer: an exception is raised within it as soon as it runs Python again."""
        with self._lock:
            self.is_left = True
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(_GivenUp))
        self._done.set()


class _Helpers:
    """Threads that work on what cannot be ended otherwise than by not waiting for it; as many as there are tasks.

    They see the caller's context, do not keep the interpreter from exiting, and one whose task was left is not used
    again.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Any, Job[Any]]] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def start(self, task: Callable[[], T], context: Context | None = None) -> Job[T]:
        """Begin a task, in a copy of the caller's context or in the one given."""
        job = Job(task)
        with self._lock:
            is_there = self._idle > 0
            self._idle -= is_there
        self._jobs.put((context or copy_context(), job))
        if not is_there:
            threading.Thread(target=self._work, name="tfgrpo-helper", daemon=True).start()
        return job

    def _work(self) -> None:
        with suppress(_GivenUp):
            while True:
                context, job = self._jobs.get()
                context.run(job.run)
                if job.is_left:
                    return
                del context, job
                with self._lock:
                    self._idle += 1


HELPERS = _Helpers()


class HelperTimeout(Exception):
    """A task that did not end in time."""


def within(seconds: float, task: Callable[[], T], excused: Callable[[], float] = lambda: 0.0) -> T:
    """The task's result, if it ends in time.

    Args:
        seconds: That it may take.
        task: What is to be done.
        excused: Seconds so far that do not count, e.g. those for which a run waited for an endpoint.

    Raises:
        HelperTimeout: It did not; it is told to end, and nobody waits for it.
    """
    ends = time.monotonic() + seconds - excused()
    job = HELPERS.start(task)
    while not job.wait(max(left := ends + excused() - time.monotonic(), 0.0)):
        if left <= 0:
            job.leave()
            raise HelperTimeout(f"timed out after {seconds:g} s; it may still be running in a thread of its own")
    return job.result()


class Clock:
    """Does things later, in a thread of its own that sleeps until the first of them is due."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._number = count()
        self._changed = threading.Condition()
        self._is_running = False

    def at(self, moment: float, task: Callable[[], object]) -> None:
        """Call the task at that time of `time.monotonic`; it must be quick, and find out itself if it is too late."""
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._number), task))
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="tfgrpo-clock", daemon=True).start()
            elif self._due[0][0] == moment:
                self._changed.notify()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                logger.exception("what was to be done at its time failed")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while self._due:
                wait = self._due[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(min(wait, threading.TIMEOUT_MAX, math.inf))
            self._is_running = False
            return None


CLOCK = Clock()
