"""What a table will take before anything is run: from the paper's figures, per rollout and per answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evals.harness.rows import Row
from evals.paper.optimizers import FromElsewhere, settings_in
from evals.paper.rows import PartPlan
from evals.paper.tables import PAPER

ASSUMPTIONS = (
    "Learning with tools: the paper's 38M + 6.6M tokens per 1,500 rollouts, reflection included, in 7 calls a rollout "
    "(ours). Answering: 60K + 8K tokens in 5 calls with tools, as the paper reports. Without tools: 1K + 4K in one "
    "call, and 5K + 1K of reflection for a rollout that is learned from (ours). A judge's calls are not counted."
)
PUBLISHED_PRICE = (0.18, 1.68)
"""US dollars per million tokens in and out (ours): a list price of 0.56 and 1.68 with 78% of the input read from the
provider's prompt cache at 0.07. It is a price at which the published tokens come to the published cost."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What some calls take together, if DSPy's cache answers nothing. Additive: `a + b`."""

    calls: float = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0
    cost_usd: float = 0
    """US dollars."""

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
        )

    def times(self, number: float, rate: Sequence[float]) -> Amount:
        """So many of it, at a price per million tokens in and out."""
        read, written = number * self.prompt_tokens, number * self.completion_tokens
        return Amount(number * self.calls, read, written, (read * rate[0] + written * rate[1]) / 1e6)


_ANSWER = {True: Amount(5, 60_000, 8_000), False: Amount(1, 1_000, 4_000)}
"""Of one answer, with tools or without."""
_LEARNT = {
    True: Amount(7, PAPER.prompt_tokens / PAPER.rollouts, PAPER.completion_tokens / PAPER.rollouts),
    False: Amount(2.1, 6_000, 5_000),
}
"""Of one training rollout and its share of reflection."""
_DIRECT_TIPS = Amount(1, 3_000, 1_000)
_EPOCHS, _GROUP = 3, 5
_FIXED = {
    "tfgrpo-no-group": {"group_size": 1},
    "tfgrpo-one-epoch": {"epochs": 1},
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What one row is expected to take."""

    row: Row
    training: str
    """In words."""
    questions: int
    learning: Amount
    answering: Amount

    @property
    def total(self) -> Amount:
        """Learning and answering."""
        return self.learning + self.answering


def expect(plan: PartPlan, price: Sequence[float] | None = None) -> Iterator[Expected]:
    """What each row of a domain is expected to take, if DSPy's cache answers nothing.

    Args:
        plan: The rows.
        price: US dollars per million tokens in and out; None for that at which the paper's run comes to its cost.
    """
    rate = PUBLISHED_PRICE if price is None else price
    for row in plan.rows:
        words, learning = _learning(row, rate)
        answering = _ANSWER[_has_tools(row)].times(len(row.data.test) * row.task.k, rate)
        yield Expected(row, words, len(row.data.test), learning, answering)


def _learning(row: Row, rate: Sequence[float]) -> tuple[str, Amount]:
    if row.optimizer == "none":
        return "nothing", Amount()
    if isinstance(row.make, FromElsewhere):
        return "carried over", Amount()
    if row.optimizer == "tfgrpo-direct":
        return "1 call", _DIRECT_TIPS.times(1, rate)
    chosen = _settings(row.optimizer)
    epochs, group, train = chosen.get("epochs", _EPOCHS), chosen.get("group_size", _GROUP), len(row.data.train)
    words = f"{train} examples x {epochs} epochs x G = {group}"
    return words, _LEARNT[_has_tools(row)].times(train * epochs * group, rate)


def _settings(optimizer: str) -> dict[str, int]:
    name, _, size = optimizer.rpartition("-group-size-")
    if name == "tfgrpo" and size.isdigit():
        return {"group_size": int(size)}
    return {**_FIXED.get(optimizer.partition("[")[0], {}), **settings_in(optimizer)}


def _has_tools(row: Row) -> bool:
    return row.task.program != "Direct"
