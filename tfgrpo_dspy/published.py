"""The published cost of the paper's run, and a forecast of that run from figures per call that we assume.

The paper (arXiv 2510.08191) publishes totals. What a call takes is not in it, so `ASSUMED` is ours: a plausible ReAct
agent with a code interpreter. That its forecast comes near the totals says that the arithmetic of `forecast` holds
for a run of that size, not that the paper's calls were like this.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfgrpo_dspy.plan import STAGES, Amount, GroupRecord, Latency, PilotRecord, Plan


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
