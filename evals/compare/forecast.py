"""What a comparison will take, before it is run: a few rollouts of the bare program, scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dspy

from evals.harness.rows import Row
from optimizers.registry import find_entry
from tfgrpo_dspy import Evaluation, Usage, evaluate

_PILOT = 4
"""Training examples that are rolled out, twice each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsForecast:
    """What all seeds of one optimizer are expected to take."""

    optimizer: str
    learning_calls: float | None
    """None where no budget is set, so that the optimizer's own settings decide."""
    bounded: bool
    """Whether these are the most that it may take; else about what it takes, whatever the budget."""
    test_calls: float
    """Expected, for programs that spend as many calls on a question as the bare one does."""
    at_inference: bool
    """Whether its programs spend more calls on a question, so that `test_calls` is too few."""
    tokens: float | None
    """Of both together; None where the calls to learn are not known."""
    cost_usd: float | None
    """None where the price or the calls are not known."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a comparison is expected to take, and what that rests on."""

    rows: tuple[RowsForecast, ...]
    pilot: Evaluation


def forecast_of(rows: Sequence[Row], num_threads: int) -> Forecast:
    """Roll out a few training examples, and scale what they took.

    Raises:
        LMError, TooManyErrors: The pilot could not be made.
    """
    first = rows[0]
    with dspy.context(lm=first.task.lm(first.seed)):
        pilot = evaluate(
            first.task.student(),
            first.data.train[:_PILOT],
            first.task.metric,
            k=2,
            seed=first.seed,
            num_threads=num_threads,
            display_progress=False,
        )
    rollouts = max(sum(len(group.scored) for group in pilot.groups), 1)
    names = dict.fromkeys(row.optimizer for row in rows)
    return Forecast(
        tuple(_of([r for r in rows if r.optimizer == name], pilot.usage, rollouts) for name in names), pilot
    )


def _of(rows: Sequence[Row], usage: Usage, rollouts: int) -> RowsForecast:
    """Tokens and cost per call are taken to be those of a rollout, of learning and of the test alike."""
    first = rows[0]
    entry = find_entry(first.optimizer)
    per_rollout = usage.lm_calls / rollouts
    test = sum(len(row.data.test) * row.task.k for row in rows) * per_rollout
    learning = None if first.calls is None else float(first.calls * len(rows))
    if not entry.spends:
        each = {"nothing": 0.0, "a call": 1.0, "a pass": len(first.data.train) * per_rollout}[entry.takes]
        learning = each * len(rows)
    calls = None if learning is None else learning + test
    per_call = (usage.prompt_tokens + usage.completion_tokens) / max(usage.lm_calls, 1)
    price = None if usage.cost_usd is None else usage.cost_usd / max(usage.lm_calls, 1)
    return RowsForecast(
        optimizer=first.optimizer,
        learning_calls=learning,
        bounded=entry.spends,
        test_calls=test,
        at_inference=entry.at_inference,
        tokens=None if calls is None else calls * per_call,
        cost_usd=None if calls is None or price is None else calls * price,
    )
