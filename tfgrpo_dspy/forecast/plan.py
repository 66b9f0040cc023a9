"""What a forecast is made of: the record of a pilot, and the plan of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfgrpo_dspy.lm.budget import Price

STAGES = ("rollouts", "summaries", "extractions", "updates", "gate", "validation")


@dataclass(frozen=True, slots=True)
class Amount:
    """What some calls took together. Additive: `a + b`."""

    calls: float = 0
    """Calls that DSPy's cache does not answer."""
    prompt_tokens: float = 0
    completion_tokens: float = 0
    cost_usd: float | None = 0.0
    """US dollars; None when unknown, which is not 0."""

    def __add__(self, other: Amount) -> Amount:
        cost = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        return Amount(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            cost,
        )

    @property
    def tokens(self) -> float:
        """In and out."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """One group of a pilot."""

    size: int
    """Rollouts, >= 1."""
    rollouts: Amount
    """All of them together, the metric's calls included."""
    is_informative: bool
    readers: float = 0
    """Of the rollouts' calls, those whose prompt holds the library."""
    summaries: Amount = Amount()
    """All of them together; nothing for a group that is not informative."""
    extraction: Amount = Amount()


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds observed; a rollout's include its tools and its metric."""

    rollout: float
    slowest_rollout: float
    """Mean over groups of the slowest."""
    summary: float
    extraction: float
    update: float


@dataclass(frozen=True, slots=True)
class PilotRecord:
    """What a pilot took; tokens of answers from DSPy's cache are counted as if they had been paid."""

    groups: tuple[GroupRecord, ...]
    """At least one."""
    update: Amount = Amount()
    """Nothing if there was nothing to learn from."""
    update_share: float = 0.5
    """Share of the update's prompt that is the advantages, in [0, 1]."""
    learned_tokens: float = 0
    """Tokens by which the update made the library's text grow."""
    learned_entries: int = 0
    """Entries that it added."""
    validation: tuple[Amount, ...] = ()
    """One per rollout on the valset."""
    latency: Latency | None = None
    """None when the cache answered, so that nothing was seen of the endpoint."""

    @property
    def informative(self) -> int:
        """Groups whose rewards differ."""
        return sum(group.is_informative for group in self.groups)

    @property
    def took(self) -> Amount:
        """All stages together."""
        return sum((self.of(stage) for stage in STAGES), Amount())

    def of(self, stage: str) -> Amount:
        """What one of `STAGES` took."""
        parts = {
            "rollouts": [g.rollouts for g in self.groups],
            "summaries": [g.summaries for g in self.groups],
            "extractions": [g.extraction for g in self.groups],
            "updates": [self.update],
            "gate": [],
            "validation": list(self.validation),
        }
        return sum(parts[stage], Amount())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is to do."""

    steps: tuple[int, ...]
    """Examples per step."""
    epochs: int
    group_size: int
    """Rollouts per group, at most if groups are adaptive."""
    threads: int
    """Calls at once."""
    validation: int = 0
    """Rollouts of one validation, of which there is one before the first step and one after each; 0 for no valset."""
    gate: tuple[int, int] = (0, 0)
    """Rollouts of a gate's trials on held-out problems in one step, at least and at most; 0 for no such gate."""
    gain: int = 0
    """Rollouts of the final comparison that `require_gain` asks for."""
    judged: int = 0
    """Judges that read each text which an update proposes."""
    library_room: float | None = None
    """Tokens by which the library may grow; None for no bound."""
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    """Stage to price per million tokens; without one, the pilot's cost per token is taken, if that is known."""
    reused: int | None = None
    """Groups of the pilot whose answers DSPy's cache hands to the run; None for all, 0 when a cache is off."""
    is_adaptive: bool = False
    """Whether groups are as large as those of the pilot, rather than of `group_size`."""

    @property
    def rollouts(self) -> int:
        """Rollouts of training, at most."""
        return sum(self.steps) * self.group_size


@dataclass(frozen=True, slots=True)
class Published:
    """What a run is reported to have taken."""

    source: str
    rollouts: int
    cost_usd: float
    prompt_tokens: float
    completion_tokens: float
    seconds: float

    def of(self, rollouts: int) -> Published:
        """The same per rollout, for a run of so many."""
        share = rollouts / self.rollouts
        return Published(
            self.source,
            rollouts,
            self.cost_usd * share,
            self.prompt_tokens * share,
            self.completion_tokens * share,
            self.seconds * share,
        )


PAPER = Published(
    "published by arXiv 2510.08191 for DeepSeek-V3.1-Terminus with tools", 1500, 18.0, 38e6, 6.6e6, 6 * 3600.0
)
"""Mathematics: 100 problems, 3 epochs of one batch, G = 5; about $18, 38M input and 6.6M output tokens, 6 hours."""

_PRICE = 0.18, 1.68
"""US dollars per million tokens (ours): a list price of 0.56 and 1.68 with 78% of the input read from the provider's
prompt cache at 0.07. It is a price at which the published tokens come to the published cost."""

PLAN = Plan(
    steps=(100, 100, 100),
    epochs=3,
    group_size=5,
    threads=8,
    prices=dict.fromkeys(STAGES, _PRICE),
)
"""The paper's run; threads are ours, DSPy's default."""


def _group(calls: int, is_informative: bool) -> GroupRecord:
    """Five rollouts of so many calls each: 1,000 tokens of prompt, and each turn adds 700 written and 150 of output."""
    prompt = sum(1_000 + turn * 850 for turn in range(calls))
    rollouts = Amount(5 * calls, 5.0 * prompt, 5.0 * calls * 700)
    if not is_informative:
        return GroupRecord(5, rollouts, False, 5 * calls)
    summaries = Amount(5, 5 * (600 + 850.0 * calls), 5 * 500.0)
    return GroupRecord(5, rollouts, True, 5 * calls, summaries, Amount(1, 900 + 5 * 500.0, 500))


ASSUMED = PilotRecord(
    groups=(_group(3, False), _group(4, False), _group(5, True), _group(5, True), _group(6, False), _group(7, True)),
    update=Amount(1, 2_000, 450),
    update_share=0.4,
    learned_tokens=150,
    learned_entries=3,
    latency=Latency(rollout=115, slowest_rollout=160, summary=18, extraction=18, update=30),
)
"""Six groups of 3 to 7 calls per rollout, half of them informative; 23 s a call, at 30 tokens a second (ours)."""
