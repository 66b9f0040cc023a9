"""What a table will take before anything is run: from our assumptions per call, and the paper's figures per answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from evals.paper.optimizers import FromElsewhere, settings_in
from evals.paper.rows import PartPlan
from evals.rows import Row
from tfgrpo_dspy.forecast.forecast import extrapolate
from tfgrpo_dspy.forecast.plan import ASSUMED, PLAN, Amount, GroupRecord, PilotRecord, Plan
from tfgrpo_dspy.lm.budget import Price

ASSUMPTIONS = (
    "Learning: extrapolated from what we assume of a call, as in `tfgrpo compile --dry-run --paper`; expected, and the "
    "90% range of it all. Answering: 60K + 8K tokens in 5 calls with tools, as the paper reports, and 1K + 4K in one "
    "call without (ours). A judge's calls are not counted."
)
PUBLISHED_PRICE: Price = (0.18, 1.68)
"""US dollars per million tokens at which the paper's tokens come to its cost; see `tfgrpo_dspy.forecast.plan`."""

_WITH_TOOLS, _WITHOUT = Amount(5, 60_000, 8_000), Amount(1, 1_000, 4_000)
_DIRECT_TIPS = Amount(1, 3_000, 1_000)
_EPOCHS, _GROUP = 3, 5
_FIXED = {
    "tfgrpo": {},
    "tfgrpo-no-ground-truth": {},
    "tfgrpo-no-group": {"group_size": 1},
    "tfgrpo-one-epoch": {"epochs": 1},
    "tfgrpo-add-only": {},
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What one row is expected to take."""

    row: Row
    training: str
    """In words."""
    questions: int
    learning: Amount
    low: float
    """US dollars to learn, with 5% below."""
    high: float
    answering: Amount

    @property
    def total(self) -> Amount:
        """Learning and answering."""
        return self.learning + self.answering


def expect(plan: PartPlan, price: Price | None = None) -> Iterator[Expected]:
    """What each row of a domain is expected to take, if DSPy's cache answers nothing.

    Args:
        plan: The rows.
        price: US dollars per million tokens in and out; None for that at which the paper's run comes to its cost.
    """
    rate = PUBLISHED_PRICE if price is None else price
    for row in plan.rows:
        words, learning, low, high = _learning(row, rate)
        answers = len(row.data.test) * row.task.k
        per_answer = _per_answer(row)
        answering = _priced(Amount(*(answers * figure for figure in _figures(per_answer))), rate)
        yield Expected(row, words, len(row.data.test), learning, low, high, answering)


def _learning(row: Row, rate: Price) -> tuple[str, Amount, float, float]:
    if row.optimizer == "none" or isinstance(row.make, FromElsewhere):
        return "nothing" if row.optimizer == "none" else "carried over", Amount(), 0.0, 0.0
    if row.optimizer == "tfgrpo-direct":
        made = _priced(_DIRECT_TIPS, rate)
        return "1 call", made, made.cost_usd or 0.0, made.cost_usd or 0.0
    chosen = _settings(row.optimizer)
    epochs, group, train = chosen.get("epochs", _EPOCHS), chosen.get("group_size", _GROUP), len(row.data.train)
    steps = Plan(
        steps=(train,) * epochs,
        epochs=epochs,
        group_size=group,
        threads=PLAN.threads,
        prices=dict.fromkeys(PLAN.prices, rate),
    )
    whole = extrapolate(_pilot(row), steps).total
    figures = (whole.calls.expected, whole.prompt_tokens.expected, whole.completion_tokens.expected)
    cost = whole.cost_usd
    words = f"{train} examples x {epochs} epochs x G = {group}"
    if cost is None:
        return words, Amount(*figures, None), 0.0, 0.0
    return words, Amount(*figures, cost.expected), cost.low, cost.high


def _settings(optimizer: str) -> dict[str, int]:
    name, _, size = optimizer.rpartition("-group-size-")
    if name == "tfgrpo" and size.isdigit():
        return {"group_size": int(size)}
    return {**_FIXED.get(optimizer.partition("[")[0], {}), **settings_in(optimizer)}


def _pilot(row: Row) -> PilotRecord:
    """What is assumed of a student's groups; one without tools makes a single call per rollout."""
    if _per_answer(row) is _WITH_TOOLS:
        return ASSUMED
    return replace(ASSUMED, groups=tuple(map(_without_tools, ASSUMED.groups)))


def _without_tools(group: GroupRecord) -> GroupRecord:
    share = group.size / (group.rollouts.calls or 1)
    calls, read, written = (group.size * figure for figure in _figures(_WITHOUT))
    shorter = Amount(group.summaries.calls, group.summaries.prompt_tokens * share, group.summaries.completion_tokens)
    return replace(group, rollouts=Amount(calls, read, written), readers=calls, summaries=shorter)


def _per_answer(row: Row) -> Amount:
    return _WITHOUT if row.task.program == "Direct" else _WITH_TOOLS


def _figures(amount: Amount) -> tuple[float, float, float]:
    return amount.calls, amount.prompt_tokens, amount.completion_tokens


def _priced(amount: Amount, rate: Price) -> Amount:
    return replace(amount, cost_usd=(amount.prompt_tokens * rate[0] + amount.completion_tokens * rate[1]) / 1e6)
