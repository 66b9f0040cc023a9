"""What a run asks of its LMs, told before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tfgrpo_dspy.settings import WHOLES, Settings


@dataclass(frozen=True, slots=True)
class Planned:
    """Counts that follow from settings and examples alone; what the LMs answer decides how many are made."""

    least: int
    """Rollouts if every group ends as small as it may."""
    rollouts: int
    """At most."""
    groups: int
    settled: int = 0
    """Further rollouts at most, of what is in doubt after the last step; they are not reflected on."""

    @classmethod
    def of(cls, settings: Settings, examples: int) -> Self:
        """What a run with these settings makes of so many examples, if nothing ends it early."""
        groups = examples * settings.learning_epochs
        least, most = groups * (settings.min_group_size or settings.group_size), groups * settings.group_size
        return cls(least, most, groups, examples * settings.group_size * settings.settling_rounds)

    @property
    def calls(self) -> int:
        """LM calls at most, if a rollout is one: the rollout, its summary, and a comparison per group; no updates."""
        return 2 * self.rollouts + self.groups + self.settled


def auto_text(settings: Settings, examples: int) -> str:
    """What `auto` means for a run in calls, beside the paper's settings; empty where it is not given."""
    if settings.auto is None:
        return ""
    planned, paper = Planned.of(settings, examples), Planned.of(Settings(), examples)
    sets = [f"{name}={value}" for name, value in WHOLES[settings.auto].items() if getattr(settings, name) == value]
    least = "" if planned.least == planned.rollouts else f"{planned.least:,} to "
    settled = f", {planned.settled:,} rollouts after the last step" if planned.settled else ""
    beside = "as many as" if planned.calls == paper.calls else f"{paper.calls:,} with"
    return (
        f"{settings.auto} ({', '.join(sets) or 'the settings of the paper'}): {least}{planned.rollouts:,} rollouts, "
        f"at most as many summaries and {planned.groups:,} comparisons{settled}; at most {planned.calls:,} LM calls "
        f"and the updates if a rollout is one call, {beside} the paper's settings"
    )
