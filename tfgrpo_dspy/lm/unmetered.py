"""The watch over one rollout: it counts LMs that its program brings itself, and ends what was given up."""

from __future__ import annotations

from typing import Any

import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import is_retryable_lm_error

from tfgrpo_dspy.lm.account import Claim, Reservation
from tfgrpo_dspy.lm.budget import OutOfBudget
from tfgrpo_dspy.lm.meter import POLICY, Meter, Unpriced
from tfgrpo_dspy.lm.replies import usage_of
from tfgrpo_dspy.lm.usage import Usage


class Abandoned(OutOfBudget):
    """A call of a rollout that was given up: nobody waits for it."""


class Guard(BaseCallback):
    """Sees every LM call of a rollout, also of LMs that its program or metric brings itself.

    Those are not metered: DSPy repeats their requests out of sight, so one that succeeds counts as one call and one
    that fails as all attempts its LM is allowed.

    Args:
        meter: Of the run.
        counts_all: Count every call it sees, rather than those of unmetered LMs only.
    """

    def __init__(self, meter: Meter, *, counts_all: bool = False) -> None:
        self._meter, self._counts_all = meter, counts_all
        self._open: dict[str, tuple[Any, Reservation]] = {}
        self._abandoned: str | None = None
        self.signal: OutOfBudget | Unpriced | None = None
        """What kept a call from being made, even if the program swallowed it."""

    def abandon(self, reason: str) -> None:
        """Refuse every further call."""
        self._abandoned = reason

    def check(self) -> None:
        """Raises `Abandoned` if nobody waits for the rollout any more."""
        if self._abandoned is not None:
            raise Abandoned(self._abandoned)

    def heed(self, error: BaseException | None) -> None:
        """A call ended with this error, or with none."""
        if isinstance(error, OutOfBudget | Unpriced):
            self.signal = error

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        self.check()
        if self._counts_all or not hasattr(instance, "tfgrpo_meter"):
            repeats = instance.num_retries if isinstance(instance, dspy.LM) else 0  # DSPy repeats no others
            claim = Claim(instance.model, calls=1 + repeats, kept=self._meter.kept_from(POLICY))
            try:
                reserved = self._meter.spending.reserve(claim)
            except OutOfBudget as refused:
                self.signal = refused
                raise
            self._open[call_id] = instance, reserved

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self.heed(exception)
        if (opened := self._open.pop(call_id, None)) is None:
            return
        lm, reservation = opened
        if isinstance(exception, Exception):
            failed = is_retryable_lm_error(exception)
            self._meter.spending.settle(reservation, calls=reservation.claim.calls if failed else 1)
        elif exception is not None:
            self._meter.spending.release(reservation)
        else:
            self._settle(lm, reservation, usage_of(lm, outputs))

    def _settle(self, lm: Any, reservation: Reservation, usage: Usage) -> None:
        if usage.cached_calls:
            self._meter.spending.release(reservation)
            return
        self._meter.sent()
        cost = self._meter.cost_of(lm.model, usage)
        self._meter.spending.settle(
            reservation,
            calls=1,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost_usd=cost or 0.0,
        )
        self._meter.check_price(lm.model, cost)
