"""The account of a run: what is reserved before a call and written down after it. Knows no language model."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from tfgrpo_dspy.lm.budget import Budget, OutOfBudget, Price, Reason, Spent

_FIRST_REPLY_TOKENS = 1_024
"""What a reply is taken to need before one of its model has been seen (ours)."""
_KEPT = 0.6
"""Share of a cap that is kept for later stages at most: summaries and extraction take six calls of a group's eleven."""
_STAGES = 3
"""Calls that follow one another after a rollout's last: its summary, the extraction, the update."""


class Ledger(Protocol):
    """Where the changes of an account are written down."""

    @property
    def before(self) -> Spent:
        """What was spent until it was opened."""

    def add(self, change: Spent, *, is_due: bool = True) -> None:
        """Write a change down, before a request that waits for it is sent, or with whatever is written next.

        Raises:
            StoreError: It is due, and cannot be written now; it will be once that is possible again.
        """


@dataclass(frozen=True, slots=True)
class Claim:
    """What a call is expected to take, before it is made."""

    model: str
    prompt_tokens: int = 0
    """By the length of the prompt."""
    max_completion_tokens: int | None = None
    """The bound that the request sets; None for none."""
    kept: int = 0
    """Calls that must remain possible after it: for later stages, which would make use of it."""
    candidates: int = 1
    """Replies asked for in one."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for a call in flight."""

    claim: Claim
    tokens: int
    cost_usd: float
    owner: object = None
    """The thread or task that waits for the call."""


@dataclass(slots=True)
class _Seen:
    """What calls of one model took."""

    calls: int = 0
    prompt_tokens: int = 0
    expected_prompt_tokens: int = 0
    completion_tokens: int = 0
    longest: int = 0
    cost_usd: float = 0.0
    dearest: float = 0.0


def _reserved_by(reservation: Reservation) -> Spent:
    return Spent(1, reservation.tokens, reservation.cost_usd)


class Spending:
    """The account of a run: claims are reserved before a call and settled after it. Thread-safe.

    Args:
        budget: The caps; None for none, in which case it only counts.
        clock: Seconds, for tests.
    """

    def __init__(self, budget: Budget | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self._spent = Spent()
        self._ledger: Ledger | None = None
        self._clock, self._started = clock, clock()
        self._written = self._started
        self._flying: dict[int, Reservation] = {}
        self._reserved = Spent()
        self._seen: dict[str, _Seen] = {}
        self._prices: dict[str, Price] = {}
        self._lock = threading.Lock()
        self._waiting: dict[object, Callable[[], None]] = {}
        self._latency = 0.0
        self._stopped: Reason | None = None
        self.refusal: Reason | None = None
        """Why a call was refused for the first time, or why the run was told to stop; None while it goes on."""

    @property
    def spent(self) -> Spent:
        """Up to now; what is in flight is not part of it."""
        with self._lock:
            return replace(self._spent, seconds=self._spent.seconds + self._clock() - self._started)

    @property
    def in_flight(self) -> int:
        """Calls reserved and not yet settled."""
        return len(self._flying)

    @property
    def needs_tokens(self) -> bool:
        """Whether a claim's tokens matter; else they need not be counted."""
        return self.budget is not None and (self.budget.max_tokens is not None or self.budget.max_cost_usd is not None)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing new may start, whatever the budget would allow."""
        return self._stopped is not None

    def carry(self, before: Spent) -> None:
        """Count what was spent before, e.g. by a pilot; not once it is kept in a ledger."""
        self._spent += before

    def keep_in(self, ledger: Ledger) -> None:
        """Go on with an account on disk: what it says was spent counts, and each change is written there.

        Raises:
            StoreError: It cannot be written.
        """
        with self._lock:
            if self._spent != Spent():
                ledger.add(self._spent)
            self._spent += ledger.before
            self._ledger = ledger

    def set_price(self, model: str, price: Price) -> None:
        """The price of a model, if it was not given with the budget."""
        self._prices.setdefault(model, price)

    def stop(self, reason: str) -> None:
        """Let nothing new start, whatever the budget."""
        with self._lock:
            self._stopped = self._stopped or Reason(reason)
            self.refusal = self.refusal or self._stopped
            self._wake()

    def refuse(self, reason: str) -> None:
        """A call was refused for this, by the cap of another account that it counts in."""
        self.refusal = self.refusal or Reason(reason)

    def reserve(self, claim: Claim, *, is_needed: bool = True) -> Reservation | None:
        """Set aside what a call will take; None where calls in flight may leave enough. Never waits.

        Args:
            claim: What it is expected to take.
            is_needed: Whether being refused ends the run, which that of a hedge does not.

        Raises:
            OutOfBudget: It would exceed a cap.
            StoreError: It cannot be written down now.
        """
        with self._lock:
            return self._try(claim, is_needed=is_needed)

    def reserve_or_wake(self, claim: Claim, owner: object, wake: Callable[[], None]) -> Reservation | None:
        """`reserve`, and where that gives None, call `wake` once it is worth to try again.

        Args:
            claim: What the call is expected to take.
            owner: Of the call: the thread or task that asks, and waits if it has to.
            wake: Called once, by any thread.

        Raises:
            OutOfBudget: It would exceed a cap, or the wait would never end.
            StoreError: It cannot be written down now.
        """
        with self._lock:
            self._waiting.pop(owner, None)
            reservation = self._try(claim, owner=owner)
            if reservation is None:
                if all(flying.owner in self._waiting or flying.owner == owner for flying in self._flying.values()):
                    reason, _ = self._exceeded(claim, *self._expected(claim))
                    raise OutOfBudget(
                        f"{reason}; and whoever makes the calls in flight waits for one like this: an LM must not be "
                        "asked while the reply of another is being read"
                    )
                self._waiting[owner] = wake
            return reservation

    def settle(
        self,
        reservation: Reservation,
        *,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cost_usd: float = 0.0,
        seconds: float | None = None,
    ) -> None:
        """Write down what a call took, a failed one nothing but itself."""
        tokens = prompt_tokens + completion_tokens
        with self._lock:
            if not self._land(reservation):
                return
            took = Spent(1, tokens, cost_usd)
            self._spent += took
            self._write(took - _reserved_by(reservation), is_due=False)
            if tokens or cost_usd:
                self._learn(reservation.claim, prompt_tokens, completion_tokens, cost_usd)
            if seconds is not None:
                self._latency = seconds if not self._latency else 0.9 * self._latency + 0.1 * seconds

    def charge(self, reservation: Reservation) -> None:
        """Settle a call of which nobody knows what it took (it was given up) with what was set aside for it."""
        with self._lock:
            if self._land(reservation):
                self._spent += _reserved_by(reservation)

    def release(self, reservation: Reservation) -> None:
        """Give back what was set aside for a call that was not made after all."""
        with self._lock:
            if self._land(reservation):
                self._write(Spent() - _reserved_by(reservation), is_due=False)

    def price_of(self, model: str) -> Price | None:
        """Given with the budget, or known to DSPy."""
        given = self.budget.price_of(model) if self.budget is not None else None
        return given or self._prices.get(model)

    def _land(self, reservation: Reservation) -> bool:
        """Whether the call was in flight until now."""
        if self._flying.pop(id(reservation), None) is None:
            return False
        self._reserved -= _reserved_by(reservation)
        if self._waiting:
            self._wake()
        return True

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for wake in waiting.values():
            wake()

    def _write(self, change: Spent, *, is_due: bool = True) -> None:
        """Into the ledger, with the time since the last change; what is due and cannot be written is not spent."""
        if self._ledger is None:
            return
        passed = round(self._clock() - self._written, 3)
        self._ledger.add(replace(change, seconds=passed), is_due=is_due)
        self._written += passed

    def _learn(self, claim: Claim, prompt_tokens: int, completion_tokens: int, cost_usd: float) -> None:
        seen = self._seen.setdefault(claim.model, _Seen())
        seen.calls += 1
        seen.prompt_tokens += prompt_tokens
        seen.expected_prompt_tokens += claim.prompt_tokens
        seen.completion_tokens += completion_tokens
        seen.longest = max(seen.longest, completion_tokens)
        seen.cost_usd += cost_usd
        seen.dearest = max(seen.dearest, cost_usd)

    def _try(self, claim: Claim, owner: object = None, *, is_needed: bool = True) -> Reservation | None:
        """A reservation, or None to wait for what is in flight."""
        if self._stopped is not None:
            raise OutOfBudget(self._stopped)
        tokens, cost = self._expected(claim)
        if self.budget is not None:
            reason, may_pass = self._exceeded(claim, tokens, cost)
            if reason and may_pass and self._flying:
                return None
            if reason:
                self.refusal = self.refusal or (Reason(reason) if is_needed else None)
                raise OutOfBudget(reason)
        reservation = Reservation(claim, tokens, cost, owner)
        self._write(_reserved_by(reservation))
        self._flying[id(reservation)] = reservation
        self._reserved += _reserved_by(reservation)
        return reservation

    def _exceeded(self, claim: Claim, tokens: int, cost: float) -> tuple[str, bool]:
        """Which cap a call would exceed, in words, and whether calls in flight may yet leave enough."""
        budget = self.budget
        if budget is None:
            return "", False
        if late := self._too_late(budget.max_seconds, claim):
            return late, False
        if many := self._too_many_calls(budget.max_lm_calls, claim):
            return many, False
        spent, reserved, (mean_tokens, mean_cost) = self._spent, self._reserved, self._means()
        if (cap := budget.max_tokens) is not None:
            kept = min(claim.kept * mean_tokens, _KEPT * cap)
            if spent.tokens + reserved.tokens + tokens + kept > cap:
                return f"max_tokens={cap}: {spent.tokens} tokens were used, the next call may need {tokens}", True
        if (dollars := budget.max_cost_usd) is not None:
            kept = min(claim.kept * mean_cost, _KEPT * dollars)
            if spent.cost_usd + reserved.cost_usd + cost + kept > dollars:
                next_call = f"the next call may cost ${cost:.4f}"
                return f"max_cost_usd={dollars:g}: ${spent.cost_usd:.4f} was spent, {next_call}", True
        return "", False

    def _too_many_calls(self, cap: int | None, claim: Claim) -> str:
        if cap is None:
            return ""
        made, kept = self._spent.lm_calls + self._reserved.lm_calls, min(claim.kept, int(_KEPT * cap))
        if made + 1 + kept <= cap:
            return ""
        return f"max_lm_calls={cap}: {made} calls were made" + (f", {kept} are kept for reflection" if kept else "")

    def _too_late(self, cap: float | None, claim: Claim) -> str:
        if cap is None:
            return ""
        passed = self._spent.seconds + self._clock() - self._started
        expected = self._latency * (1 + min(claim.kept, _STAGES))
        return f"max_seconds={cap:g}: {passed:.1f} s have passed" if passed + expected >= cap else ""

    def _expected(self, claim: Claim) -> tuple[int, float]:
        """Tokens and US dollars of a call, by the longest reply of its model so far."""
        if not self.needs_tokens:
            return 0, 0.0
        seen, bound = self._seen.get(claim.model), claim.max_completion_tokens
        if seen is None or not seen.calls:
            # Nothing is known yet: the first call goes alone if the caps are tight, and is never refused for a guess.
            guess = min(bound or _FIRST_REPLY_TOKENS, _FIRST_REPLY_TOKENS) if self._flying else 0
            prompt, completion = claim.prompt_tokens, claim.candidates * guess
        else:
            ratio = seen.prompt_tokens / seen.expected_prompt_tokens if seen.expected_prompt_tokens else 1.0
            prompt = math.ceil(claim.prompt_tokens * ratio)
            completion = min(seen.longest, claim.candidates * bound) if bound else seen.longest
        price = self.price_of(claim.model)
        if price is None:
            return prompt + completion, seen.dearest if seen else 0.0
        cost = (prompt * price[0] + completion * price[1]) / 1e6
        return prompt + completion, cost

    def _means(self) -> tuple[float, float]:
        """Tokens and US dollars of a call so far, over all models."""
        calls = sum(seen.calls for seen in self._seen.values())
        if not calls:
            return 0.0, 0.0
        tokens = sum(seen.prompt_tokens + seen.completion_tokens for seen in self._seen.values())
        return tokens / calls, sum(seen.cost_usd for seen in self._seen.values()) / calls
