"""The meter of a run: what every request to its endpoints must pass, whoever makes it.

Budget, adaptive concurrency, timeouts and the allowance for hedging are kept here, once, for rollouts and reflection
alike; `metered` makes the LMs that ask it.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dspy
from dspy.utils.exceptions import LMServerError

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.lm.account import Claim, Spending
from tfgrpo_dspy.lm.budget import Budget, cost_at
from tfgrpo_dspy.lm.pacing import Latencies, Limiter
from tfgrpo_dspy.lm.replies import cut_short, is_empty, timed_out, tokens_of
from tfgrpo_dspy.lm.usage import Traffic, Usage

POLICY, SUMMARY, EXTRACTION, UPDATE = "policy", "summary", "extraction", "update"
"""Roles of calls, in the order of a step: each leaves of a budget what the later ones need."""

_LONGEST_WAIT = 120.0
"""Seconds that a Retry-After may ask for; longer, and the call is given up with the endpoint's message."""
_FOR_UPDATE = 3
"""Calls kept for the update, on which all that a step learned depends: it may have to be repeated."""
_FIRST_WAIT = 0.25
"""Seconds before the first repetition at most: single faults are over at once. Each further wait is 4 times longer."""
_LONGEST_BACKOFF = 30.0


class EmptyReply(LMServerError):
    """The endpoint answered without content."""


class CutReply(LMServerError):
    """The endpoint cut a reply off before it was as long as it was allowed to be."""


class Unpriced(BaseException):
    """A call's cost is unknown under a cap in US dollars; carries the `SettingsError` that stops the run."""

    def __init__(self, error: SettingsError) -> None:
        super().__init__(str(error))
        self.error = error


class Meter:
    """Budget, pace and patience of one run.

    Args:
        budget: The caps; None for none.
        most: Calls at once at most, >= 1.
        call_timeout: Seconds that a call may take, > 0; None learns it from the latencies observed.
        hedge: Share of the calls that may be repeated because they are slow, in [0, 1]; 0 for none.
        seed: Of the jitter of waits.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        most: int = 8,
        call_timeout: float | None = None,
        hedge: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.spending = Spending(budget)
        self.limiter = Limiter(most)
        self.latencies = Latencies()
        self.is_learning = False
        """Whether groups are owed a reflection; in an evaluation they are not."""
        self.shared: dict[tuple[int, str], tuple[dspy.BaseLM, dspy.BaseLM]] = {}
        """LM and role to the copy that is asked in that role; `metered.share_lm` makes them."""
        self._owed: dict[str, int] = {}
        self._call_timeout, self._hedge, self._seed = call_timeout, hedge, seed
        self._longest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._retries = self._hedges = 0
        self._sent = 0
        self._failures: Counter[str] = Counter()

    @property
    def stopped_by(self) -> str | None:
        """Why nothing new starts any more; None while it does."""
        return self.spending.refusal

    @property
    def traffic(self) -> Traffic:
        """So far."""
        with self._lock:
            return Traffic(self._sent, self._retries, self._hedges, dict(self._failures))

    def stop(self, reason: str) -> None:
        """Let nothing new start; what is in flight is kept."""
        self.spending.stop(reason)
        self._stopped.set()

    @contextmanager
    def active(self) -> Iterator[Meter]:
        """Copies that `metered.copy_lm` makes ask this meter, also in the workers of a pool made meanwhile."""
        token = _METER.set(self)
        try:
            yield self
        finally:
            _METER.reset(token)

    def owe(self, group: str, calls: int) -> None:
        """A group is being rolled out: it will need calls to be learned from, unless its rewards turn out equal."""
        if self.is_learning:
            with self._lock:
                self._owed.setdefault(group, calls)

    def pay(self, group: str) -> None:
        """One of them was made."""
        with self._lock:
            if self._owed.get(group):
                self._owed[group] -= 1

    def forgive(self, group: str) -> None:
        """It needs no more."""
        with self._lock:
            self._owed.pop(group, None)

    def kept_from(self, role: str) -> int:
        """Calls that a role must leave to those after it, so that what was paid for becomes part of the library."""
        if not self.is_learning or role == UPDATE:
            return 0
        with self._lock:
            return _FOR_UPDATE + {POLICY: sum(self._owed.values()), SUMMARY: len(self._owed)}.get(role, 0)

    def claim(self, lm: dspy.BaseLM, call: Any) -> Claim:
        """What a prepared call is expected to take."""
        kept = self.kept_from(getattr(lm, "tfgrpo_role", POLICY))
        if not self.spending.needs_tokens:
            return Claim(lm.model, calls=call.n, kept=kept)
        messages = call.legacy.get("messages") or ()
        read = sum(len(str(m.get("content", ""))) if isinstance(m, dict) else len(str(m)) for m in messages) // 4
        return Claim(lm.model, read, completion_bound(lm), call.n, kept)

    def hedging_delay(self, kind: tuple[str, str]) -> float | None:
        """Seconds after which a call may be repeated; None when it may not."""
        slow = self.latencies.slow(kind) if self._hedge else None
        return None if slow is None or (self._hedges + 1) > self._hedge * self._sent else slow

    def allowed(self, kind: tuple[str, str], timeouts: int) -> float | None:
        """Seconds that a call may take; None while that is not known."""
        return self._call_timeout or self.latencies.allowed(kind, timeouts)

    @property
    def can_hedge(self) -> bool:
        """Whether stragglers may be repeated at all."""
        return self._hedge > 0

    @property
    def fixed_timeout(self) -> float | None:
        """The timeout that was set; None when it is learned."""
        return self._call_timeout

    def wait(self, lm: dspy.BaseLM, error: Exception, attempt: int) -> float:
        """Seconds before a failed call is repeated: as the endpoint asks, else growing, with jitter.

        Raises:
            Exception: The error itself, when the endpoint asks for more than anyone would wait.
        """
        with self._lock:
            self._retries += 1
        asked = getattr(error, "retry_after", None)
        if isinstance(asked, int | float) and asked >= 0:  # which NaN is not
            if asked > _LONGEST_WAIT:
                raise error
            return float(asked)
        if timed_out(error) or isinstance(error, EmptyReply | CutReply):
            return 0.0
        jitter = random.Random(f"{self._seed}/{lm.kwargs.get('rollout_id')}/{attempt}").uniform(0.5, 1.0)
        return float(min(_FIRST_WAIT * 4**attempt, _LONGEST_BACKOFF) * jitter)

    def pause(self, seconds: float) -> None:
        """Wait, unless the run is told to stop."""
        self._stopped.wait(seconds)

    def sent(self) -> None:
        """A request goes out."""
        with self._lock:
            self._sent += 1

    def hedged(self) -> None:
        """It is a second one."""
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
        status = getattr(error, "status", None)
        reason = "timeout" if timed_out(error) else type(error).__name__ + (f" {status}" if status else "")
        with self._lock:
            self._failures[reason] += 1

    def judge(self, lm: dspy.BaseLM, result: Any) -> None:
        """Look at a reply before anyone uses it.

        Raises:
            EmptyReply, CutReply: The endpoint failed, though it said it had not.
        """
        _, written = tokens_of(result)
        error: LMServerError | None = None
        if is_empty(result):
            error = EmptyReply("the endpoint answered without content", model=lm.model)
        elif cut_short(result, completion_bound(lm), self._longest.get(lm.model)):
            error = CutReply(f"the reply was cut off after {written} tokens", model=lm.model)
        if error is not None:
            self.failed(error)
            raise error
        with self._lock:
            self._longest[lm.model] = max(self._longest.get(lm.model, 0), written)

    def cost_of(self, model: str, took: Usage) -> float | None:
        """US dollars of a call by the price given with the budget, else as DSPy reports them; None if unknown."""
        budget = self.spending.budget
        given = budget.price_of(model) if budget is not None else None
        if given is None:
            return took.cost_usd
        return cost_at(given, took.prompt_tokens, took.completion_tokens, took.cached_tokens or 0)

    def check_price(self, model: str, cost: float | None) -> None:
        """Raises `Unpriced` if a cap in US dollars cannot be kept."""
        budget = self.spending.budget
        if cost is None and budget is not None and budget.max_cost_usd is not None:
            self.stop("the price of its calls is unknown")
            raise Unpriced(no_price(model))


_METER: ContextVar[Meter | None] = ContextVar("tfgrpo_meter", default=None)


def active_meter() -> Meter | None:
    """The meter of the run that this thread works for."""
    return _METER.get()


def no_price(model: str) -> SettingsError:
    """The error for a cap in US dollars that cannot be kept."""
    return SettingsError(
        f"`max_cost_usd` cannot be kept: the price of {model} is unknown; give it in US dollars per million tokens in "
        "and out, e.g. `price_per_million=(0.4, 1.6)`, or cap `max_tokens` or `max_lm_calls` instead"
    )


def completion_bound(lm: dspy.BaseLM) -> int | None:
    """Output tokens that the LM's requests allow; None when they set no bound."""
    bound = lm.kwargs.get("max_completion_tokens") or lm.kwargs.get("max_tokens")
    return bound if isinstance(bound, int) else None
