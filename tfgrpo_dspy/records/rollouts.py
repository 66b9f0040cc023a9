"""Rollouts and groups as values: what took place, what was lost, and how a group turned out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.looks.look import Look, brief
from tfgrpo_dspy.looks.value import Shown
from tfgrpo_dspy.statistics.estimates import Estimate, full_marks, mean_at_k

if TYPE_CHECKING:
    import dspy

    from tfgrpo_dspy.settings import Settings


@dataclass(frozen=True, slots=True, repr=False)
class Scored(Shown):
    """A rollout that took place and was scored; a policy failure is one too, with the failure score."""

    name: str
    """`s1/e12/r0`: step, example, index in its group."""
    reward: float
    """What the metric returned, any finite number; the failure score if the policy failed."""
    feedback: str
    """What the metric said about it; empty if nothing."""
    trajectory: str
    """Every predictor call and tool call in order, as text."""
    answer: str
    """The outputs of the program, as text; empty when the policy failed."""
    tool_calls: int
    usage: Usage
    seconds: float
    """Wall-clock time of program and metric."""
    policy_failure: str | None = None
    """Why the policy failed (unparseable answer, exhausted steps, ...); None if it did not."""
    parts: tuple[tuple[str, float], ...] = ()
    """Name and value of what a composite reward is made of; empty for any other."""
    withheld: tuple[str, ...] = ()
    """Ids of the experiences on trial that it did not read, by chance, in library order; of one that an update changed
    it read what it was before."""

    def look(self) -> Look:
        """Its reward, and what it answered or how it failed."""
        said = self.answer if self.policy_failure is None else f"failed: {self.policy_failure}"
        return Look(f"Scored {self.name}: reward {self.reward:g}, {brief(said)}")


@dataclass(frozen=True, slots=True, repr=False)
class Lost(Shown):
    """A rollout that did not happen: never scored, never summarised, always counted."""

    name: str
    cause: Literal["infrastructure", "metric", "budget"]
    """`budget` when it was not made because nothing new was to start: no error, and not counted as one."""
    error: str
    """One line: the error's type and message."""
    usage: Usage
    seconds: float

    @property
    def is_final(self) -> bool:
        """Whether it would be lost again: what infrastructure or a budget prevented is no result."""
        return self.cause == "metric"

    def look(self) -> Look:
        """Why it did not happen."""
        return Look(f"Lost {self.name} ({self.cause}): {brief(self.error)}")


Rollout = Scored | Lost


def group_of(rollout: str) -> str:
    """The name of the group that a rollout is in: `s1/e12` of `s1/e12/r0`."""
    return rollout.rpartition("/")[0]


def example_of(name: str) -> str:
    """What a group or a rollout calls its example: `e12` of `s1/e12`."""
    return name.split("/")[1]


def step_of(name: str) -> int:
    """The step that a group or a rollout was made in, from 1; 0 for what was made before the first."""
    return int(name.partition("/")[0].removeprefix("s"))


@dataclass(frozen=True, slots=True, repr=False)
class Unscored(Shown):
    """A rollout that took place and waits for its group, by which it is to be scored."""

    name: str
    outputs: Mapping[str, Any]
    """What the program returned, as JSON values."""
    trajectory: str
    answer: str
    tool_calls: int
    usage: Usage
    seconds: float
    withheld: tuple[str, ...] = ()

    def look(self) -> Look:
        """What it answered."""
        return Look(f"Unscored {self.name}: {brief(self.answer)}")


Made = Scored | Lost | Unscored
"""What comes back from where a rollout was made."""


@dataclass(frozen=True, slots=True, repr=False)
class Group(Shown):
    """The rollouts of one query under one library."""

    name: str
    """`s1/e12`: step and position of the example in the trainset."""
    example: dspy.Example
    rollouts: tuple[Rollout, ...]
    """In index order, length G, or fewer where groups are adaptive."""
    first: int | None = None
    """How many of them were made whatever came out; the others because the rewards before them did not differ, so
    that only the first tell how well the policy does. None for all."""

    @property
    def scored(self) -> tuple[Scored, ...]:
        """Those that took place, in index order."""
        return tuple(r for r in self.rollouts if isinstance(r, Scored))

    @property
    def lost(self) -> tuple[Lost, ...]:
        """Those that did not."""
        return tuple(r for r in self.rollouts if isinstance(r, Lost))

    @property
    def rewards(self) -> tuple[float, ...]:
        """Rewards of the scored rollouts, in index order."""
        return tuple(r.reward for r in self.scored)

    @property
    def fair_rewards(self) -> tuple[float, ...]:
        """Rewards of the scored among the first, whose mean is not biased by when sampling stopped."""
        return tuple(r.reward for r in self.rollouts[: self.first] if isinstance(r, Scored))

    def is_informative(self, tolerance: float) -> bool:
        """Whether rewards differ by more than the tolerance (std(r) > 0 in the paper), on any real-valued reward."""
        return len(self.rewards) > 1 and max(self.rewards) - min(self.rewards) > tolerance

    def may_teach(self, settings: Settings) -> bool:
        """Whether it is reflected on: as its rewards differ, or as the settings have it nevertheless."""
        asks_for_all = not settings.require_contrast or not settings.show_rewards
        return bool(self.scored) and (asks_for_all or self.is_informative(settings.tolerance))

    def look(self) -> Look:
        """Its rewards."""
        lost = f", {len(self.lost)} lost" if self.lost else ""
        return Look(f"Group {self.name}: rewards {', '.join(f'{r:g}' for r in self.rewards) or 'none'}{lost}")


class GroupCounts(NamedTuple):
    """How the groups of a batch turned out; the five add up to its size."""

    informative: int
    """Rewards differ: these teach."""
    all_right: int
    """Equal rewards of full marks: 1, or what the scale of the metric ends with."""
    all_wrong: int
    """Equal rewards of 0."""
    otherwise_equal: int
    """Equal rewards in between, or of a metric with rewards below 0, which nobody knows to be right or wrong."""
    too_few: int
    """Fewer than two rollouts took place."""


def count_groups(groups: Sequence[Group], tolerance: float) -> GroupCounts:
    """Count groups by how they turned out."""
    counts = dict.fromkeys(GroupCounts._fields, 0)
    full = full_marks(reward for group in groups for reward in group.rewards)
    for group in groups:
        counts[outcome_of(group, tolerance, full)] += 1
    return GroupCounts(**counts)


def reward_estimate(groups: Sequence[Group]) -> Estimate | None:
    """Mean@G: the mean over queries of the mean reward of their rollouts, with its interval over queries.

    Of adaptive groups the first rollouts alone, as sampling that stops when rewards differ draws the mean of the rest
    towards the middle. Groups that lost every rollout are left out. None if that leaves none.
    """
    rewards = [g.fair_rewards for g in groups if g.fair_rewards]
    return mean_at_k(rewards) if rewards else None


def outcome_of(group: Group, tolerance: float, full: float | None) -> str:
    """How a group turned out: the name of a field of `GroupCounts`.

    Args:
        group: Of any size.
        tolerance: Rewards that differ by no more count as equal.
        full: The reward of a right answer, see `full_marks`; None where it is not known.
    """
    if group.is_informative(tolerance):
        return "informative"
    if len(group.rewards) <= 1:
        return "too_few"
    if full is None:
        return "otherwise_equal"
    if min(group.rewards) >= full - tolerance:
        return "all_right"
    return "all_wrong" if max(group.rewards) <= tolerance else "otherwise_equal"
