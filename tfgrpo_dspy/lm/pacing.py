"""How fast an endpoint may be asked and how long it may take, learned from how it answers. Knows no language model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

_RISE = 1.0
"""Calls more at once per round of answers, while below the bound."""
_FALL = 0.7
"""Factor on the calls at once when the endpoint refuses for its rate."""
_SUSTAINED = 0.2
"""Share of recent answers that must be refusals before that happens; single ones are only retried."""
_MEMORY = 0.1
"""Weight of the newest answer in that share."""

_ENOUGH = 20
"""Answers of a kind after which their latency is taken as known."""
_RECENT = 200
_SLOW = 0.95
_PATIENCE = 3.0
"""Times the 95th percentile that a call may take."""
_STEPS = (10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0)
"""Seconds that a timeout is rounded up to, so that it does not change with every answer."""
_OTHER_KIND = 3.0
"""Factor on the timeout of a kind of call that was not seen yet, when the others of its model were."""
UNKNOWN = 600.0
"""Seconds that a call may take while nothing is known of its kind, as with DSPy itself."""


class Limiter:
    """Bounds the calls in flight; the bound falls while the endpoint refuses for its rate, and recovers.

    Additive increase, multiplicative decrease: the share of refusals among recent answers must be high, and refusals
    of calls that started before the last decrease do not count again.

    Args:
        most: The bound to start with and to come back to, >= 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._refused = 0.0
        self._round = 0
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self.in_flight = 0
        """Calls between `enter` and `leave`."""

    @property
    def limit(self) -> int:
        """Calls at once, at present."""
        return max(1, int(self._limit))

    def enter(self, wake: Callable[[], None] | None = None) -> int | None:
        """Take a place; returns the round, for `leave`, or None where there is none.

        Args:
            wake: Called, by any thread, when there is one again; None not to be called.
        """
        with self._lock:
            if self.in_flight < self.limit:
                self.in_flight += 1
                return self._round
            if wake is not None:
                self._waiting.append(wake)
            return None

    def leave(self, begun: int, *, refused: bool | None) -> None:
        """Give a place back.

        Args:
            begun: What `enter` returned.
            refused: True when the endpoint refused the call for its rate, False when it answered, None when neither
                can be said.
        """
        with self._lock:
            self.in_flight -= 1
            if refused is not None:
                self._refused += _MEMORY * (refused - self._refused)
                if not refused:
                    self._limit = min(self._most, self._limit + _RISE / self._limit)
                elif self._refused > _SUSTAINED and begun == self._round:
                    self._limit = max(1.0, self._limit * _FALL)
                    self._round += 1
            for _ in range(min(len(self._waiting), 1 + int(self._limit < self._most))):
                self._waiting.popleft()()

    def wake_all(self) -> None:
        """Let everyone who waits look again."""
        with self._lock:
            while self._waiting:
                self._waiting.popleft()()


class Latencies:
    """How long answers took, by kind of call, and how long one may take.

    A kind is (model, what it is asked for): an update takes longer than an answer of the same model.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[float]] = {}
        self._added: dict[tuple[str, str], int] = {}
        self._slow: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def add(self, kind: tuple[str, str], seconds: float) -> bool:
        """An answer took that long; whether more is known now of how long one may take."""
        with self._lock:
            seen = self._seen.setdefault(kind, deque(maxlen=_RECENT))
            seen.append(seconds)
            self._added[kind] = added = self._added.get(kind, 0) + 1
            is_enough = added % _ENOUGH == 0
            if is_enough:
                self._slow[kind] = sorted(seen)[int(_SLOW * (len(seen) - 1))]
            return is_enough

    def slow(self, kind: tuple[str, str]) -> float | None:
        """The 95th percentile of recent answers, in seconds; None before enough were seen."""
        return self._slow.get(kind)

    def allowed(self, kind: tuple[str, str]) -> float | None:
        """Seconds that a call may take; None while too little is known."""
        slow = self.slow(kind)
        if slow is None:
            others = [s for other, s in list(self._slow.items()) if other[0] == kind[0]]
            slow = max([_OTHER_KIND * max(others), *self._seen.get(kind, ())]) if others else None
        return None if slow is None else next((step for step in _STEPS if step >= _PATIENCE * slow), _STEPS[-1])
