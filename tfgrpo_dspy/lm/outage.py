"""An endpoint that is away: nothing that is asked of it is answered, so a run waits, and asks with one call at a time.

What a call that was held back fails with is no failure of the call: it is sent again once the endpoint is back. A disk
that does not take what a run paid for is waited for in the same way, as the place named `STORE`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from dspy.lm15 import ServerError, TimeoutError, TransportError
from dspy.utils.exceptions import LMServerError, LMTimeoutError, LMTransportError

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.lm.budget import Reason
from tfgrpo_dspy.lm.flight import CLOCK
from tfgrpo_dspy.lm.verdicts.replies import CutReply, EmptyReply, may_pass, reason_of, timed_out

logger = logging.getLogger(__name__)

_IN_A_ROW = 3
"""Failures with no answer between them that make an outage: fewer than DSPy's tries, so that no call is lost to it."""
_FIRST, _LONGEST = 0.25, 60.0
"""Seconds between probes: doubled from one to the next, as a fault that is no outage is over at once."""
_SAID_AFTER = 1.0
"""Seconds after which people are told."""
_LONGEST_FOR_DISK = 2.0
"""The same where asking costs nothing."""
_LOST_PROBE = 660.0
"""Seconds after which a probe of which nothing was heard is another's to make; no call may take so long."""
_NOBODY_THERE = frozenset({502, 503, 504, 529})
"""Statuses that a proxy gives for an endpoint, whatever is asked of it."""
STORE = ""
"""Stands among the models for the disk that what is paid for is kept on."""


@dataclass
class _Endpoint:
    """What is known of one."""

    is_proven: bool
    """Whether it ever answered in this run; one that never did is misspelt, not away."""
    failures: int = 0
    """In a row."""
    failing: set[int] = field(default_factory=set)
    """Which requests they were of."""
    is_certain: bool = False
    """Whether one of them says that nobody is there, and not only that this request came to nothing."""
    since: float = 0.0
    """When the first of them was."""
    is_away: bool = False
    interval: float = _FIRST
    due: float = 0.0
    """When the next probe may be made."""
    probe: int | None = None
    """Which request it is, while it is on its way."""
    why: str = ""
    """What is wrong with it, in words."""
    is_said: bool = False
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class Outages:
    """Of the endpoints of a run, by model. Thread-safe.

    Args:
        limit: Seconds that one may be away; None waits for none.
        give_up: Told when that is over.
        clock: Seconds, for tests.
    """

    def __init__(
        self, limit: float | None, give_up: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.are_proven = False
        """Whether the run had answers in an earlier process: then its endpoints are known to be right."""
        self._give_up, self._clock = give_up, clock
        self._endpoints: dict[str, _Endpoint] = {}
        self._waited = 0.0
        self._lock = threading.Lock()

    def waited(self) -> float:
        """Seconds that the run has waited for endpoints, up to now."""
        with self._lock:
            now = self._clock()
            return self._waited + sum(now - one.since for one in self._endpoints.values() if one.is_away)

    def is_away(self, model: str) -> bool:
        """Whether calls to it are held back."""
        endpoint = self._endpoints.get(model)
        return endpoint is not None and endpoint.is_away

    def enter(self, model: str, request: object, wake: Callable[[], None]) -> bool | None:
        """True if the request may be sent, as the endpoint is there or as its probe; None to wait for `wake`."""
        with self._lock:
            endpoint = self._endpoints.get(model)
            if endpoint is None or not endpoint.is_away:
                return True
            if endpoint.probe is None and self._clock() >= endpoint.due:
                endpoint.probe = _key(request)
                endpoint.due = self._clock() + _LOST_PROBE
                self._tick_at(endpoint.due, model)
                return True
            endpoint.waiting.append(wake)
            return None

    def answered(self, model: str, *, in_full: bool = True) -> None:
        """The endpoint is there.

        Args:
            model: It is known by.
            in_full: Whether it did what it was asked for; a refusal also says that it is there.
        """
        endpoint = self._endpoints.get(model)
        if endpoint is not None and not endpoint.failures and endpoint.is_proven >= in_full:
            return
        with self._lock:
            endpoint = self._known(model)
            endpoint.is_proven = endpoint.is_proven or in_full
            if endpoint.is_away:
                seconds = self._clock() - endpoint.since
                self._waited += seconds
                if endpoint.is_said:
                    is_back = f"the endpoint of {model} is back" if model else "the disk takes what is kept again"
                    logger.warning("%s after %.0f s; the run goes on, and nothing was lost", is_back, seconds)
            waiting = endpoint.waiting
            self._endpoints[model] = _Endpoint(endpoint.is_proven)
        for wake in waiting:
            wake()

    def failed(self, model: str, request: object, error: BaseException) -> None:
        """A request came to nothing, or was given up."""
        if self.limit is None:
            return
        if not isinstance(error, Exception):  # whoever made it waits no longer, which says nothing of the endpoint
            self._probe_was_left(model, request)
        elif not is_absence(error):
            self.answered(model, in_full=False)
        else:
            with self._lock:
                self._count(self._known(model), model, request, error)

    def refused(self, request: object, error: StoreError) -> None:
        """What was paid for cannot be kept, so that whatever waits for this has to go on waiting."""
        with self._lock:
            self._count(self._known(STORE), STORE, request, error)
        if self.limit is None:
            self._give_up(Reason(str(error), "disk"))

    def wake_all(self) -> None:
        """Let everyone who waits look again."""
        with self._lock:
            waiting = [wake for endpoint in self._endpoints.values() for wake in endpoint.waiting]
            for endpoint in self._endpoints.values():
                endpoint.waiting.clear()
        for wake in waiting:
            wake()

    def _known(self, model: str) -> _Endpoint:
        return self._endpoints.setdefault(model, _Endpoint(self.are_proven))

    def _count(self, endpoint: _Endpoint, model: str, request: object, error: Exception) -> None:
        now, key = self._clock(), _key(request)
        endpoint.since = endpoint.since or now
        endpoint.failures += 1
        endpoint.failing.add(key)
        endpoint.why = reason_of(error) if model else str(error)
        endpoint.is_certain = endpoint.is_certain or says_that_nobody_is_there(error)
        if endpoint.is_away:
            if endpoint.probe == key:
                longest = _LONGEST if model else _LONGEST_FOR_DISK
                endpoint.probe, endpoint.interval = None, min(2 * endpoint.interval, longest)
                endpoint.due = now + endpoint.interval
                self._tick_at(endpoint.due, model)
                self._say(endpoint, model)
        elif not model or (
            endpoint.is_proven and endpoint.failures >= _IN_A_ROW and (endpoint.is_certain or len(endpoint.failing) > 1)
        ):
            endpoint.is_away, endpoint.due = True, now + endpoint.interval
            self._tick_at(endpoint.due, model)
            self._tick_at(endpoint.since + (self.limit or math.inf), model)

    def _say(self, endpoint: _Endpoint, model: str) -> None:
        if endpoint.is_said or self._clock() - endpoint.since < _SAID_AFTER:
            return
        endpoint.is_said = True
        if not model:
            said = "nothing new starts until then, for which the run waits up to max_outage=%g s; nothing is lost"
            logger.warning("%s; " + said, endpoint.why, self.limit)
            return
        logger.warning(
            "the endpoint of %s is away (%s): the run waits for it up to max_outage=%g s, asking now and then with one "
            "call; nothing is lost, and an interrupt keeps what there is",
            model,
            endpoint.why,
            self.limit,
        )

    def _probe_was_left(self, model: str, request: object) -> None:
        with self._lock:
            endpoint = self._endpoints.get(model)
            if endpoint is None or endpoint.probe is None or endpoint.probe != _key(request):
                return
            endpoint.probe, endpoint.due = None, self._clock()
        self._tick(model)

    def _tick_at(self, moment: float, model: str) -> None:
        if math.isfinite(moment):
            CLOCK.at(moment, lambda: self._tick(model))

    def _tick(self, model: str) -> None:
        """Something is due: a probe, or the end of waiting."""
        with self._lock:
            endpoint = self._endpoints.get(model)
            if endpoint is None or not endpoint.is_away:
                return
            now, wake = self._clock(), None
            late = self.limit is not None and now - endpoint.since >= self.limit
            if now >= endpoint.due and endpoint.waiting:
                endpoint.probe, wake = None, endpoint.waiting.popleft()
                self._tick_at(now + endpoint.interval, model)  # it may have been left, and never come
        if late:
            away = f"the endpoint of {model} was away for {now - endpoint.since:.0f} s"
            reason = f"max_outage={self.limit:g}: {away}"
            full = f"{endpoint.why}; it was waited for max_outage={self.limit:g} s"
            self._give_up(Reason(reason, "outage") if model else Reason(full, "disk"))
        if wake is not None:
            wake()


def is_absence(error: BaseException) -> bool:
    """Whether a request came to nothing as it would if the endpoint were away: a 5xx, no connection, no answer."""
    absent = ServerError, TransportError, TimeoutError, LMServerError, LMTransportError, LMTimeoutError
    return isinstance(error, absent) and not isinstance(error, EmptyReply | CutReply) and may_pass(error)


def says_that_nobody_is_there(error: Exception) -> bool:
    """Whether another request would have come to the same; one that an endpoint cannot bear may fail or time out."""
    is_cut_off = isinstance(error, TransportError | LMTransportError) and not timed_out(error)
    return is_cut_off or getattr(error, "status", None) in _NOBODY_THERE


def _key(request: object) -> int:
    """The same when DSPy repeats a request, which it may copy."""
    return hash(repr(request))
