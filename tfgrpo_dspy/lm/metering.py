"""A run's meter at work: from here on, whatever is asked of an LM is metered, and belongs to a draw of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import dspy

from tfgrpo_dspy.lm.budget import Budget, OutOfBudget, no_price
from tfgrpo_dspy.lm.draws import drawn
from tfgrpo_dspy.lm.host import held, hold_engines_of
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.scope import Scope, active_meter, live, scope_here
from tfgrpo_dspy.lm.undocumented import price_of
from tfgrpo_dspy.looks.secrets import SECRETS


@contextmanager
def metering(meter: Meter, lms: Sequence[dspy.BaseLM] = ()) -> Iterator[None]:
    """Calls in this context, in workers made meanwhile, and in threads that the program starts, are this meter's.

    Those of a run within a rollout of another one are the other's as well, and end with it.

    Args:
        meter: Of the run.
        lms: Those that are known to be asked; the configured one is.
    """
    known = [lm for lm in (*lms, dspy.settings.lm) if lm is not None]
    here = scope_here()
    scope = Scope(meter, around=None if here is None or here.meter is meter else here)
    with ExitStack() as stack:
        for context in (_ending_with(scope.around, meter), held(), drawn(), live(scope), scope.entered()):
            stack.enter_context(context)
        hold_engines_of(known)
        SECRETS.learn_of(known, os.environ)
        meter.models |= {lm.model for lm in known}
        meter.begin()
        yield


@contextmanager
def capped(lm_calls: int, num_threads: int) -> Iterator[None]:
    """Within it no more calls than these reach an endpoint, whoever makes them: `OutOfBudget` is raised instead.

    Runs and evaluations within it, which have meters of their own, count too.

    Args:
        lm_calls: At the endpoint: retries and hedges count, answers from the cache do not. At least 1.
        num_threads: Calls at once at most.
    """
    meter = Meter(Budget(max_lm_calls=lm_calls), most=num_threads)
    with metering(meter):
        try:
            yield
        except OutOfBudget as signal:
            meter.stop(str(signal))
            _end_pools(signal)
            raise


def _end_pools(signal: OutOfBudget) -> None:
    """Wait for the threads of pools that the signal came through, which would go on where nothing is counted."""
    traceback = signal.__traceback__
    while traceback is not None:
        for pool in traceback.tb_frame.f_locals.values():
            if isinstance(pool, ThreadPoolExecutor):
                pool.shutdown(cancel_futures=True)
        traceback = traceback.tb_next


@contextmanager
def _ending_with(around: Scope | None, meter: Meter) -> Iterator[None]:
    if around is None:
        yield
        return
    outer = around.meter
    outer.wake_at_stop(meter, lambda: meter.stop(outer.stopped_by or ""))
    try:
        yield
    finally:
        outer.wake_at_stop(meter, None)


def metered(lms: Callable[[], Sequence[dspy.BaseLM]] = tuple) -> AbstractContextManager[None]:
    """Within it some meter is at work: that of the run under way here, or one that has no limits."""
    return nullcontext() if active_meter() is not None else metering(Meter(), lms())


def find_prices(lms: Sequence[dspy.BaseLM], meter: Meter) -> None:
    """Tell the meter the prices that a cap in US dollars needs.

    Raises:
        SettingsError: One is unknown, and known to stay so.
    """
    budget = meter.spending.budget
    if budget is None or budget.max_cost_usd is None:
        return
    for lm in lms:
        if meter.spending.price_of(lm.model) is not None or _is_priced_elsewhere(lm):
            continue
        price = price_of(lm)
        if price is None:
            raise no_price(lm.model)
        meter.spending.set_price(lm.model, price)


def _is_priced_elsewhere(lm: dspy.BaseLM) -> bool:
    """Whether LiteLLM, or the LM itself, may report the cost of a call; that shows with the first one."""
    return getattr(lm, "engine", "litellm") == "litellm"
