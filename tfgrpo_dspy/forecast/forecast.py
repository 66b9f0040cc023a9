"""What a pilot took, what a run is to do, and what it will take: calls, tokens, money and time, each with a range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tfgrpo_dspy.lm.budget import Price, Spent
from tfgrpo_dspy.looks.look import Look, Table
from tfgrpo_dspy.looks.value import Shown

STAGES = ("rollouts", "summaries", "extractions", "update", "gate", "validation", "gain")
OF_REFLECTION = frozenset({"summaries", "extractions", "update"})
LEVEL = 0.9
"""Share of the runs that the ranges are meant to hold. Of 50 runs of the embedded LM's demo (five settings, seeds 0 to
9 each) all lay within, in calls and in tokens, which says little of other programs and LMs."""

_MINUTE, _HOUR, _LONG = 60, 3600, 99.5
_THOUSAND, _MILLION, _DIME = 1e3, 1e6, 0.1


@dataclass(frozen=True, slots=True)
class Amount:
    """What some calls take together. Additive: `a + b`."""

    calls: float = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def times(self, calls: float, tokens: float = 1.0) -> Amount:
        """So many of it, each with so many times the tokens."""
        return Amount(self.calls * calls, self.prompt_tokens * calls * tokens, self.completion_tokens * calls * tokens)

    @property
    def tokens(self) -> float:
        """In and out."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class PilotGroup:
    """What one group of a pilot took; answers of DSPy's cache count as if they had been paid."""

    rollouts: Amount
    """Of all of its rollouts."""
    size: int
    is_informative: bool
    summaries: Amount = Amount()
    """Of those that differ: DSPy's cache answers the others. Nothing for a group that is not informative."""
    extraction: Amount = Amount()
    seconds: tuple[float, ...] = ()
    """Of each rollout, its tools and its metric included; empty where DSPy's cache answered."""

    @property
    def took(self) -> Amount:
        """All of it together."""
        return self.rollouts + self.summaries + self.extraction


@dataclass(frozen=True, slots=True)
class Pilot:
    """What an ordinary step on a few examples took."""

    groups: tuple[PilotGroup, ...]
    update: Amount = Amount()
    """What followed the extractions; nothing if there was nothing to learn from."""
    learned_tokens: float = 0
    """By which the library's text grew."""
    learned_entries: int = 0
    validation: tuple[Amount, ...] = ()
    """One per example of the valset."""
    reflecting: float = 0
    """Seconds from the last rollout to the end of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is to do."""

    steps: tuple[int, ...]
    """Examples per step."""
    epochs: int
    threads: int
    """Calls at once."""
    validation: int = 0
    """Examples of one validation, of which there is one before the first step and one after each; 0 for no valset."""
    gate: tuple[int, int] = (0, 0)
    """Rollouts of a gate's trials on held-out problems in one step, at least and at most; 0 for no such gate."""
    settled: int = 0
    """Rollouts at most of what is in doubt after the last step of a run with `trials`."""
    gain: int = 0
    """Rollouts of the final comparison that `require_gain` asks for."""
    readers: float = 1.0
    """Share of a rollout's calls whose prompt holds the library, in [0, 1]."""
    room: float | None = None
    """Tokens by which the library that a prompt holds may grow; None for no bound."""
    condenses: bool = False
    """Whether a library that outgrows its room is condensed."""
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    """Stage to US dollars for a million tokens in and out; None where they are unknown."""
    reused: int = 0
    """Groups of the pilot whose answers DSPy's cache hands to the run."""


@dataclass(frozen=True, slots=True)
class Range:
    """A figure that is not known yet, and about where nine runs in ten should lie; see `scale`."""

    low: float
    expected: float
    high: float

    def to_text(self, text: Callable[[float], str]) -> str:
        """What is expected, and the range where there is one: `120 (95 – 150)`."""
        low, expected, high = text(self.low), text(self.expected), text(self.high)
        return expected if low == high else f"{expected} ({low} – {high})"

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

    def weight(self, *, by_cost: bool) -> float:
        """What is expected of its cost, or of its tokens."""
        if by_cost and self.cost_usd is not None:
            return self.cost_usd.expected
        return self.prompt_tokens.expected + self.completion_tokens.expected


@dataclass(frozen=True, slots=True, repr=False)
class Forecast(Shown):
    """What a whole run will take, the pilot included."""

    stages: Mapping[str, StageForecast]
    """By the names in `STAGES`; `pilot` is what the pilot took that the run cannot use."""
    total: StageForecast
    seconds: Range | None
    """Wall-clock time of the run; None when the pilot's answers came from the cache."""
    plan: Plan
    pilot: Pilot
    spent: Spent = Spent()
    """What the pilot itself paid just now, less than it took when the cache answered. As the optimizer's `spent` it
    makes a budget hold for pilot and run together."""
    notes: tuple[str, ...] = ()
    """What a reader should know of these figures."""
    simulated: bool = False
    """Whether any LM was the embedded one, whose figures say nothing of a real one."""

    def table(self) -> Table:
        """A row per stage and one for all: what is expected with its range, and its share of the whole.

        The share is one of the cost where that is known, else of the tokens.
        """
        costs = self.total.cost_usd is not None and self.total.cost_usd.expected
        shown = {"pilot only" if name == "pilot" else name: of for name, of in self.stages.items() if of.calls.high}
        rows, whole = [], self.total.weight(by_cost=bool(costs))
        for name, stage in {**shown, "total": self.total}.items():
            figures = (stage.calls, stage.prompt_tokens, stage.completion_tokens)
            cost = "unknown" if stage.cost_usd is None else stage.cost_usd.to_text(usd_text)
            share = f"{100 * stage.weight(by_cost=bool(costs)) / whole:.0f}%" if whole else ""
            rows.append((name, *(figure.to_text(count_text) for figure in figures), cost, share))
        columns = ("stage", "calls", "tokens in", "tokens out", "cost", "share")
        return Table(columns, tuple(rows), columns[1:])

    def remarks(self) -> tuple[str, ...]:
        """The time it will take, what the pilot took, and what else a reader should know."""
        time = "unknown, as DSPy's cache answered the pilot"
        if self.seconds is not None:
            time = (
                f"{self.seconds.to_text(time_text)} with {self.plan.threads} calls at once, at the latency of the pilot"
            )
        took = sum((group.took for group in self.pilot.groups), self.pilot.update)
        tokens = f"{count_text(took.prompt_tokens)} + {count_text(took.completion_tokens)} tokens"
        extra = count_text(self.stages["pilot"].calls.expected if "pilot" in self.stages else 0)
        of_it = f"all of it is in the total, and {extra} of its calls the run cannot use"
        of_it = "DSPy's cache answered all of it" if took.calls and self.spent.lm_calls == 0 else of_it
        pilot = f"the pilot took {count_text(took.calls)} calls, {tokens}; {of_it}"
        return (f"wall-clock time: {time}", pilot, *self.notes)

    def look(self) -> Look:
        """What is expected, of all and of each stage, with the range."""
        calls = self.total.calls.to_text(count_text)
        return Look(
            f"Forecast: {calls} LM calls{' (simulated)' if self.simulated else ''}", self.remarks(), self.table()
        )


def count_text(number: float) -> str:
    """`999`, `12k`, `38.0M`."""
    if number >= _LONG * _THOUSAND * 10:
        return f"{number / _MILLION:.1f}M"
    return f"{number / _THOUSAND:.0f}k" if number >= 10 * _THOUSAND else f"{number:,.0f}"


def usd_text(dollars: float) -> str:
    """`$18.00`, and less than a dime in three digits."""
    return f"${dollars:.2f}" if dollars >= _DIME or dollars == 0 else f"${dollars:.3g}"


def time_text(seconds: float) -> str:
    """`1.2 s`, `40 s`, `2 min`, `6.0 h`."""
    if seconds < _LONG:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"  # noqa: PLR2004 - two digits
    return f"{seconds / _MINUTE:.0f} min" if seconds < 1.5 * _HOUR else f"{seconds / _HOUR:.1f} h"
