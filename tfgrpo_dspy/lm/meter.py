"""The meter of a run: budget, pace and patience, for every request that `engine` makes, whoever asks."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from tfgrpo_dspy.lm.account import Reservation, Spending
from tfgrpo_dspy.lm.budget import POLICY, SUMMARY, UPDATE, Budget, Due, Kind, OutOfBudget, Reason, Unpriced, cost_at
from tfgrpo_dspy.lm.flight import CLOCK, Flight
from tfgrpo_dspy.lm.outage import Outages
from tfgrpo_dspy.lm.pacing import UNKNOWN, Latencies, Limiter
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.lm.verdicts.facts import causes
from tfgrpo_dspy.lm.verdicts.replies import CutReply, EmptyReply, Reply, ReplyRule, Sight, reason_of, rule_of, timed_out

logger = logging.getLogger(__name__)

LONGEST_WAIT = 120.0
"""Seconds that a Retry-After may ask for; longer, and the call is given up with the endpoint's message."""
GRACE = 10.0
"""Seconds that calls in flight have when nothing new may start any more; then they are given up."""
_FOR_UPDATE = 3
"""Calls kept for the update, on which all that a step learned depends: it may have to be repeated."""
_FIRST_WAIT = 0.25
"""Seconds before the first repetition at most: single faults are over at once. Each further wait is 4 times longer."""
_LONGEST_BACKOFF = 30.0
_REFLECTION = 4.0
"""Times a rollout's limit that a call of reflection may take at least: an update is longer than an answer."""


class Meter:
    """Budget, pace and patience of one run.

    Args:
        budget: The caps; None for none.
        most: Calls at once at most, >= 1.
        call_timeout: Seconds that a call of a rollout may take, > 0; None learns it from the latencies observed.
        hedge: Share of the calls that may be repeated because they are slow, in [0, 1]; 0 for none.
        seed: Of the jitter of waits.
        max_outage: Seconds that an endpoint which answered before may be away, > 0; None waits for none.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        most: int = 8,
        call_timeout: float | None = None,
        hedge: float = 0.0,
        seed: int = 0,
        max_outage: float | None = None,
    ) -> None:
        self.spending = Spending(budget)
        self.limiter = Limiter(most)
        self.latencies = Latencies()
        self.outages = Outages(max_outage, self.stop)
        self._owed: dict[str, int] = {}
        self.models: set[str] = set()
        """Names of the LMs that were asked in its contexts."""
        self._call_timeout, self._hedge, self._seed = call_timeout, hedge, seed
        self._longest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._flights: set[Flight] = set()
        self._pauses: dict[object, Callable[[], None]] = {}
        self._retries = self._hedges = self._sent = 0
        self._failures: Counter[str] = Counter()
        self._said: set[str] = set()

    @property
    def stopped_by(self) -> Reason | None:
        """Why nothing new starts any more; None while it does."""
        return self.spending.refusal

    @property
    def traffic(self) -> Traffic:
        """So far."""
        with self._lock:
            return Traffic(self._sent, self._retries, self._hedges, dict(self._failures))

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._sent

    @property
    def can_hedge(self) -> bool:
        """Whether stragglers may be repeated at all."""
        return self._hedge > 0

    def say(self, message: str) -> None:
        """Tell people, once."""
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)

    def begin(self) -> None:
        """The run starts: from now on its seconds are watched, also while nothing is asked for."""
        budget, known = self.spending.budget, weakref.ref(self)
        if budget is not None and budget.max_seconds is not None:
            left = budget.max_seconds - self.spending.spent.seconds
            CLOCK.at(time.monotonic() + left, lambda: _stop_late(known))

    def stop(self, reason: str, grace: float | None = None) -> None:
        """Let nothing new start, end every wait, and, after a grace of so many seconds, what is still in flight."""
        self.spending.stop(reason)
        self.limiter.wake_all()
        self.outages.wake_all()
        with self._lock:
            pauses, self._pauses = self._pauses, {}
        for wake in pauses.values():
            wake()
        CLOCK.at(time.monotonic() + (GRACE if grace is None else grace), lambda: self._cut(OutOfBudget(reason)))

    def _cut(self, reason: OutOfBudget) -> None:
        for flight in list(self._flights):
            flight.cut(reason)

    def departs(self, flight: Flight) -> None:
        """A request goes out; it may be ended from now on."""
        with self._lock:
            self._flights.add(flight)

    def answered(self, kind: tuple[str, str], seconds: float) -> None:
        """A call took that long; others begun when nothing was known of their kind need not take for ever."""
        self.outages.answered(kind[0])
        if self.latencies.add(kind, seconds):
            for flight in list(self._flights):
                if flight.seconds == UNKNOWN:
                    flight.hasten(self.allowed(flight.kind, 0, None))

    def returns(self, flight: Flight) -> None:
        """It is no longer on its way."""
        flight.land()
        with self._lock:
            self._flights.discard(flight)

    def check(self) -> None:
        """Raises `OutOfBudget` if nothing new may start, whatever the caps."""
        if self.spending.is_stopped:
            raise OutOfBudget(self.stopped_by or "")

    def wake_at_stop(self, owner: object, wake: Callable[[], None] | None) -> None:
        """`wake` is called when the run is stopped, unless None takes it back before."""
        with self._lock:
            self._pauses.pop(owner, None)
            if wake is not None:
                self._pauses[owner] = wake
        self.check()

    def kept_from(self, kind: Kind, due: Due | None) -> int:
        """Calls that one of a kind leaves to those after it, so that what was paid for becomes part of the library.

        Args:
            kind: What is asked for.
            due: What the group of a rollout will need to be learned from; None if it is not to be.
        """
        if kind == UPDATE or (kind == POLICY and due is None):
            return 0
        with self._lock:
            if due is not None:
                self._owed.setdefault(due.group, due.calls)
            return _FOR_UPDATE + {POLICY: sum(self._owed.values()), SUMMARY: len(self._owed)}.get(kind, 0)

    def paid(self, group: str) -> None:
        """A call that a group was to need was made."""
        with self._lock:
            if self._owed.get(group):
                self._owed[group] -= 1

    def forgiven(self, group: str) -> None:
        """A group needs no more calls."""
        with self._lock:
            self._owed.pop(group, None)

    def hedging_delay(self, kind: tuple[str, str]) -> float | None:
        """Seconds after which a call may be repeated; None when it may not."""
        slow = self.latencies.slow(kind) if self._hedge else None
        return None if slow is None or (self._hedges + 1) > self._hedge * self._sent else slow

    def allowed(self, kind: tuple[str, str], timeouts: int, own: float | None) -> float:
        """Seconds that a call may take in all.

        Args:
            kind: Model and what it is asked for.
            timeouts: How often this call has timed out already: each doubles the time that was learned.
            own: The time that its LM was given, which is not made shorter; None for none.
        """
        set_here = self._call_timeout
        if set_here is not None and kind[1] == POLICY:
            return set_here
        learned = self.latencies.allowed(kind)
        if set_here is not None:
            learned = max(learned or 0.0, _REFLECTION * set_here)
        return max(min((learned or UNKNOWN) * 2.0**timeouts, UNKNOWN), own or 0.0)

    def wait_for(self, error: BaseException, attempt: int, what: str) -> float:
        """Seconds before a failed call is repeated: as the endpoint asks, else growing, with jitter.

        Args:
            error: How it failed.
            attempt: How often it failed before.
            what: Tells calls apart, for the jitter.
        """
        asked: object = getattr(error, "retry_after", None)
        if asked is None:  # LiteLLM keeps it in the headers of what is behind
            answers = (getattr(one, "response", None) for one in causes(error))
            told = (dict(getattr(one, "headers", None) or {}).get("retry-after") for one in answers)
            asked = next((float(one) for one in told if one and re.fullmatch(r"\d+(\.\d+)?", one)), None)
        if isinstance(asked, int | float) and asked >= 0:  # which NaN is not
            return float(asked)
        if timed_out(error) or isinstance(error, EmptyReply | CutReply):
            return 0.0
        jitter = random.Random(f"{self._seed}/{what}/{attempt}").uniform(0.5, 1.0)
        return min(_FIRST_WAIT * 4.0**attempt, _LONGEST_BACKOFF) * jitter

    def sent(self) -> None:
        """A request is made."""
        with self._lock:
            self._sent += 1

    def retried(self) -> None:
        """A call is repeated because it failed."""
        with self._lock:
            self._retries += 1

    def hedged(self) -> None:
        """A second request was sent for one that is slow."""
        with self._lock:
            self._hedges += 1

    def add(self, traffic: Traffic) -> None:
        """Requests that another process sent for the run."""
        with self._lock:
            self._sent += traffic.calls
            self._retries += traffic.retries
            self._hedges += traffic.hedges
            self._failures.update(traffic.failures)

    def failed(self, error: BaseException) -> None:
        """A request failed."""
        with self._lock:
            self._failures[reason_of(error)] += 1

    def settle(self, reservation: Reservation, took: Usage, seconds: float) -> Usage:
        """Write down what an answer took; returns it with its cost.

        Raises:
            Unpriced: A cap in US dollars cannot be kept.
        """
        model, budget = reservation.claim.model, self.spending.budget
        given = budget.price_of(model) if budget is not None else None
        cost = took.cost_usd
        if given is not None:
            cost = cost_at(given, took.prompt_tokens, took.completion_tokens, took.cached_tokens or 0)
        self.spending.settle(
            reservation,
            prompt_tokens=took.prompt_tokens,
            completion_tokens=took.completion_tokens,
            cost_usd=cost or 0.0,
            seconds=seconds,
        )
        if took.is_estimate:
            self._say_estimated(model)
        if cost is None and budget is not None and budget.max_cost_usd is not None:
            self.stop("the price of its calls is unknown")
            raise Unpriced(model)
        return took if cost == took.cost_usd else replace(took, cost_usd=cost)

    def _say_estimated(self, model: str) -> None:
        budget = self.spending.budget
        caps = [] if budget is None else [n for n in ("max_tokens", "max_cost_usd") if getattr(budget, n) is not None]
        kept = f"; {' and '.join(caps)} can be kept on that estimate only" if caps else ""
        self.say(f"the endpoint of {model} does not report its tokens: they are estimated from the texts{kept}")

    def judge(self, reply: Reply, model: str, bound: int | None) -> ReplyRule | None:
        """What a reply that came with success is taken for; None for a proper one."""
        rule = rule_of(Sight(reply, bound, self._longest.get(model)))
        if rule is None or rule.taken_for == "policy":
            with self._lock:
                self._longest[model] = max(self._longest.get(model, 0), reply.written)
        return rule


def _stop_late(known: weakref.ref[Meter]) -> None:
    meter = known()
    if meter is not None and (budget := meter.spending.budget) is not None:
        meter.stop(f"max_seconds={budget.max_seconds:g}: {meter.spending.spent.seconds:.1f} s have passed")
