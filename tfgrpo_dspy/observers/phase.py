"""What a step, or the validation after it, has done so far; and how long the whole run will still take."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import Extraction, Summary
from tfgrpo_dspy.records.events import Event, GroupFinished, ReflectionFinished, RolloutFinished
from tfgrpo_dspy.records.rollouts import Group, Scored, reward_estimate

_SECONDS, _MINUTES = 60, 60
_SURE = 5
"""Rollouts that an expected time is made of at least."""


@dataclass(slots=True)
class Phase:
    """Counts the events of one phase."""

    title: str = ""
    planned: int = 0
    """Its rollouts; what comes after them belongs to a validation."""
    size: int = 0
    """Of a whole group; adaptive ones that stay smaller lessen what is planned."""
    first: int | None = None
    """Rollouts of an adaptive group whose rewards are counted; None for all."""
    groups: list[Group] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    scored: int = 0
    lost: int = 0
    informative: int = 0
    summaries: int = 0
    extractions: int = 0
    failures: int = 0
    half_width: str = ""
    """Of the interval of the mean reward, over the groups finished so far."""

    @property
    def done(self) -> int:
        """Rollouts that are over."""
        return self.scored + self.lost

    @property
    def has_all_rollouts(self) -> bool:
        """Whether what comes next belongs to another phase."""
        return self.done >= self.planned

    def take(self, event: Event, tolerance: float) -> Usage:
        """Count an event; returns the LM use that it brings."""
        match event:
            case RolloutFinished(rollout=rollout):
                self.lost += not isinstance(rollout, Scored)
                self.scored += isinstance(rollout, Scored)
                index = int(rollout.name.rpartition("/r")[2]) if self.first is not None else -1
                if isinstance(rollout, Scored) and (self.first is None or index < self.first):
                    self.rewards.append(rollout.reward)
                return rollout.usage
            case GroupFinished(group=group):
                self.groups.append(group)
                self.planned -= self.size - len(group.rollouts) if self.size else 0
                self.informative += group.is_informative(tolerance)
                estimate = reward_estimate(self.groups)
                if estimate is not None and estimate.n > 1:
                    self.half_width = f" ± {(estimate.high - estimate.low) / 2:.2f}"
            case ReflectionFinished(made=made):
                self.summaries += isinstance(made, Summary)
                self.extractions += isinstance(made, Extraction) and made.advantage is not None
                self.failures += len(made.failures)
                return made.usage
        return Usage()

    def describe(self, cost: str) -> str:
        """What matters most first: a narrow terminal cuts off the rest."""
        reward = "no reward yet"
        if self.rewards:
            reward = f"reward {sum(self.rewards) / len(self.rewards):.2f}{self.half_width} (n={len(self.rewards)})"
        parts = [reward, cost]
        parts += [f"{self.lost} lost"] if self.lost else []
        parts += [f"{self.failures} failed"] if self.failures else []
        parts += [f"{self.informative}/{len(self.groups)} groups informative"] if self.groups else []
        parts += [f"{self.summaries} summaries, {self.extractions} extractions"] if self.summaries else []
        return " · ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast something with a known number of parts goes."""

    began: float
    """Reading of the clock, in seconds."""
    planned: int

    def left(self, done: int, now: float) -> str:
        """`12:30 left`, if the rest goes as what is done; empty while too little is, and at the end."""
        if not _SURE <= done < self.planned:
            return ""
        seconds = round((now - self.began) / done * (self.planned - done))
        minutes, seconds = divmod(seconds, _SECONDS)
        hours, minutes = divmod(minutes, _MINUTES)
        return f"{f'{hours}:{minutes:02d}' if hours else minutes}:{seconds:02d} left"
