"""What a pilot took, what a run is to do, and what it will take: calls, tokens, money and time, each with a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfgrpo_dspy.lm.budget import Price, Spent
from tfgrpo_dspy.looks.look import Look, Table
from tfgrpo_dspy.looks.value import Shown

STAGES = ("rollouts", "summaries", "extractions", "update", "gate", "validation", "gain")
OF_REFLECTION = frozenset({"summaries", "extractions", "update"})
LEVEL = 0.9
"""Share of the runs that the ranges are meant to hold. Of 50 runs of the embedded LM's demo (five settings, seeds 0 to
9 each) all lay within, in calls and in tokens, which says little of other programs and LMs."""


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

    def look(self) -> Look:
        """What is expected, of all and of each stage, with the range."""
        columns = ("stage", "LM calls", "tokens in", "tokens out", "cost")
        rows = [(stage, *_figures(taken)) for stage, taken in {**self.stages, "total": self.total}.items()]
        seconds = f"about {self.seconds.expected:,.0f} s" if self.seconds is not None else ""
        title = f"Forecast: {_range(self.total.calls)} LM calls{' (simulated)' if self.simulated else ''}"
        return Look(title, (seconds, *self.notes), Table(columns, tuple(rows), columns[1:]))


def _figures(taken: StageForecast) -> tuple[str, str, str, str]:
    cost = "unknown" if taken.cost_usd is None else f"${taken.cost_usd.expected:.4f}"
    return _range(taken.calls), _range(taken.prompt_tokens), _range(taken.completion_tokens), cost


def _range(range_: Range) -> str:
    return f"{range_.expected:,.0f} [{range_.low:,.0f}, {range_.high:,.0f}]"
