"""Step 1, rollout and reward: G answers per query from a frozen LM that has read the library (paper, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tfgrpo_dspy.events import Usage

if TYPE_CHECKING:
    import dspy


@dataclass(frozen=True, slots=True)
class Scored:
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


@dataclass(frozen=True, slots=True)
class Lost:
    """A rollout that did not happen: never scored, never summarised, always counted."""

    name: str
    cause: Literal["infrastructure", "metric"]
    error: str
    """One line: the error's type and message."""
    usage: Usage
    seconds: float


Rollout = Scored | Lost


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one query under one library."""

    name: str
    """`s1/e12`: step and position of the example in the trainset."""
    example: dspy.Example
    rollouts: tuple[Rollout, ...]
    """In index order, length G."""

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

    def is_informative(self, tolerance: float) -> bool:
        """Whether rewards differ by more than the tolerance (std(r) > 0 in the paper), on any real-valued reward."""
        return len(self.rewards) > 1 and max(self.rewards) - min(self.rewards) > tolerance
