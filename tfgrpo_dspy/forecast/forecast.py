"""What a run will take, extrapolated from a small pilot: calls, tokens, money and time, each with a range.

Pure arithmetic: `pilot` makes the record, `TrainingFreeGRPO.forecast` puts both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.forecast.plan import STAGES, Amount, PilotRecord, Plan
from tfgrpo_dspy.lm.budget import Price, Spent

if TYPE_CHECKING:
    from tfgrpo_dspy.forecast.projection import Projection, Three

LEVEL = 0.9
"""Share of the simulated runs that lie within a range."""


@dataclass(frozen=True, slots=True)
class Range:
    """A figure that is not known yet: `low` and `high` hold 90% of the runs that the pilot leaves possible."""

    low: float
    expected: float
    high: float

    def covers(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class StageForecast:
    """What one stage will take in the whole run."""

    calls: Range
    prompt_tokens: Range
    completion_tokens: Range
    cost_usd: Range | None
    """None when a price is unknown, which is not 0."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a whole run will take, the pilot included."""

    stages: Mapping[str, StageForecast]
    """By the names in `STAGES`; `pilot` is what the pilot took that the run cannot use."""
    total: StageForecast
    seconds: Range | None
    """Wall-clock time of the run; None when the pilot's answers came from the cache."""
    plan: Plan
    pilot: PilotRecord
    pilot_paid: Amount = field(default_factory=Amount)
    """What the pilot itself paid just now; less than it took when the cache answered."""
    spent: Spent = Spent()
    """The same as a budget counts it; set it as the optimizer's `spent` for a run whose caps are to hold for both."""
    notes: tuple[str, ...] = ()
    """What a reader should know of these figures."""
    simulated: bool = False
    """Whether any LM was the embedded one, whose figures say nothing of a real one."""

    @property
    def pilot_took(self) -> Amount:
        """What the pilot took, paid or not; part of the total."""
        return self.pilot.took


def extrapolate(pilot: PilotRecord, plan: Plan) -> Forecast:
    """Forecast a run from a pilot of it.

    The expected figures follow one run in which everything is as the pilot says on average; the ranges are the 5th
    and 95th percentiles of 4000 simulated runs (of a fixed seed, so the same pilot gives the same forecast). In each:

    - *Rollouts, summaries, extractions, validation.* Calls and tokens per unit are drawn around the pilot's mean with
      Student's t: its spread over groups is known from few of them, and the run's own groups differ as well. What a
      policy writes once it reads a library is 0.85 to 1.2 times as long, expected 1 (triangular; ours).
    - *Share of informative groups* (they alone are reflected on). Drawn from Jeffreys' Beta posterior of the pilot's,
      then each step's groups from that share. Once a library is read, fewer groups differ: from the second epoch on
      the share is multiplied by 0.4 to 1.1, expected 0.7 (triangular; our observation on the embedded LM and the
      slow rise of the training reward that the paper reports), in the first epoch by that to the power of progress.
    - *Answers that repeat* are summarised once, as DSPy's cache answers the second time. How much rarer new ones
      become within the pilot's groups goes on over the epochs, from not at all to in full, expected half (uniform).
    - *Library.* The prompts of rollouts, extractions and updates grow by what the library has grown. What the pilot's
      m advantages added (a count of entries, drawn from its Gamma posterior) becomes (M/m)^b times as much with M of
      them: insights repeat (Heaps' law), b is 0.3 to 0.9, expected 0.6 (triangular; ours). Its bounds hold.
    - *Update.* One call a step. The part of its prompt that shows advantages grows with their number, its reply with
      what the library gains; 0.5 to 2 of that, expected 1 (triangular).
    - *Gate.* Between its least (one trial that is clear at its first look) and its most (every trial of every part to
      the end), uniform, expected in the middle; a step whose groups do not differ has none. A judge is asked once per
      advantage, at the length of an extraction without its summaries (a third, ours).
    - *Time.* Between the busy time of all calls divided by the threads, or the longest chain if that is more, and
      the sum of both, at the latency that the pilot observed, which follows the length of the rollouts; and 1 ms of
      this process per call. An endpoint that slows down under load is not foreseen.

    Args:
        pilot: At least one group. If none was informative, reflection is guessed from the rollouts, and a note says so.
        plan: The whole run.

    Raises:
        DataError: The pilot has no group, or the plan no step.
    """
    from tfgrpo_dspy.forecast.projection import CENTRAL, drawn, project

    if not pilot.groups or not plan.steps:
        raise DataError("a forecast needs a pilot of at least one group, and a plan of at least one step")
    central, spread = project(pilot, plan, CENTRAL), project(pilot, plan, drawn(plan))
    stages = {
        name: _stage(name, central, spread, _rate(name, pilot, plan)) for name in STAGES if name in central.amounts
    }
    stages |= {"pilot": _known(_unused(pilot, plan))}
    total = StageForecast(
        _range(central.sum(0), spread.sum(0), stages["pilot"].calls.expected),
        _range(central.sum(1), spread.sum(1), stages["pilot"].prompt_tokens.expected),
        _range(central.sum(2), spread.sum(2), stages["pilot"].completion_tokens.expected),
        _total_cost(stages, central, spread, pilot, plan),
    )
    seconds = None if pilot.latency is None else _range(central.seconds, spread.seconds)
    return Forecast(stages, total, seconds, plan, pilot, notes=_notes(pilot, plan))


def _stage(name: str, central: Projection, spread: Projection, rate: Price | None) -> StageForecast:
    expected, drawn = central.amounts[name], spread.amounts[name]
    calls, prompt, completion = (_range(e, d) for e, d in zip(expected, drawn, strict=True))
    cost = None if rate is None else _range(_cost(expected, rate), _cost(drawn, rate))
    if cost is None and calls.high == 0:
        cost = Range(0.0, 0.0, 0.0)
    return StageForecast(calls, prompt, completion, cost)


def _total_cost(
    stages: Mapping[str, StageForecast], central: Projection, spread: Projection, pilot: PilotRecord, plan: Plan
) -> Range | None:
    if any(stage.cost_usd is None for stage in stages.values()):
        return None
    rates = {name: _rate(name, pilot, plan) or (0.0, 0.0) for name in central.amounts}
    expected = sum(_cost(central.amounts[name], rate) for name, rate in rates.items())
    drawn = sum(_cost(spread.amounts[name], rate) for name, rate in rates.items())
    unused = stages["pilot"].cost_usd
    return _range(expected, drawn, unused.expected if unused is not None else 0.0)


def _cost(amounts: Three, rate: Price) -> Any:
    _, prompt, completion = amounts
    return (prompt * rate[0] + completion * rate[1]) / 1e6


def _range(expected: Any, drawn: Any, known: float = 0.0) -> Range:
    import numpy as np

    middle = float(np.mean(expected))
    low, high = (float(q) for q in np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    return Range(min(low, middle) + known, middle + known, max(high, middle) + known)


def _rate(name: str, pilot: PilotRecord, plan: Plan) -> Price | None:
    """US dollars per million tokens of a stage: the price, else what the pilot's calls of that stage came to."""
    price = plan.prices.get(name)
    if price is not None:
        return price
    seen = pilot.of(name)
    if seen.tokens == 0:
        seen = pilot.of("rollouts" if name in ("validation", "gate") else "summaries")
    if seen.cost_usd is None or seen.tokens == 0:
        return None
    return (1e6 * seen.cost_usd / seen.tokens,) * 2


def _unused(pilot: PilotRecord, plan: Plan) -> Amount:
    """What the pilot took that the run cannot use, above all its update, as the run's own is shown more groups."""
    groups = len(pilot.groups)
    reused = groups if plan.reused is None else plan.reused
    wasted = dict.fromkeys(STAGES[:3], 1 - reused / groups)
    wasted |= {"gate": 0.0, "updates": float(not reused == groups == plan.steps[0]), "validation": float(reused == 0)}
    priced = []
    for name, share in wasted.items():
        seen, rate = pilot.of(name), _rate(name, pilot, plan)
        prompt, completion = share * seen.prompt_tokens, share * seen.completion_tokens
        cost = None if rate is None else (prompt * rate[0] + completion * rate[1]) / 1e6
        priced.append(Amount(share * seen.calls, prompt, completion, cost if prompt + completion else 0.0))
    return sum(priced, Amount())


def _known(amount: Amount) -> StageForecast:
    figures = (amount.calls, amount.prompt_tokens, amount.completion_tokens)
    calls, prompt, completion = (Range(float(x), float(x), float(x)) for x in figures)
    cost = None if amount.cost_usd is None else Range(amount.cost_usd, amount.cost_usd, amount.cost_usd)
    return StageForecast(calls, prompt, completion, cost)


def _notes(pilot: PilotRecord, plan: Plan) -> tuple[str, ...]:
    notes = []
    if not pilot.informative:
        notes.append("no group of the pilot was informative, so what reflection takes is guessed; a larger pilot tells")
    if plan.reused == 0:
        notes.append("an LM's cache is off, so the run pays again for what the pilot rolled out")
    if plan.is_adaptive:
        notes.append("adaptive groups are taken to be as large as those of the pilot")
    if plan.gate[1]:
        notes.append(f"the gate makes {plan.gate[0]:,} to {plan.gate[1]:,} rollouts a step, as its looks turn out")
    if pilot.latency is None:
        notes.append("DSPy's cache answered the pilot, so nothing is known of the time")
    return tuple(notes)
