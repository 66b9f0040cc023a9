"""What the loop announces, and what a run leaves behind. Frozen values; listeners never steer.

An observer is any callable that takes one `Event`. Events arrive one at a time, in the thread that runs `compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.looks.look import Look
from tfgrpo_dspy.looks.value import Shown
from tfgrpo_dspy.records.advantages import Extraction, Summary
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.text import counted

if TYPE_CHECKING:
    import dspy


@dataclass(frozen=True, slots=True, repr=False)
class RunStarted(Shown):
    """Before the first paid call."""

    settings: Settings
    student: dspy.Module
    trainset: tuple[dspy.Example, ...]
    valset: tuple[dspy.Example, ...] | None
    library: ExperienceLibrary
    lms: Mapping[str, str]
    """Role (`policy`, `reflection`) to model name."""
    steps: int
    """Steps planned."""
    rollouts: int
    """Rollouts planned, validation not included; at most so many if groups are adaptive."""
    token: str | None = None
    """Names the run for ever, also when it is taken up after a kill; None where nothing is kept."""
    resumed: str = ""
    """What of an earlier process it goes on with; empty for a run that begins."""

    def look(self) -> Look:
        """What is planned."""
        planned = f"{counted(self.steps, 'step')}, {self.rollouts} rollouts of {len(self.trainset)} examples"
        return Look(f"RunStarted: {planned}", tuple(f"{role}: {name}" for role, name in self.lms.items()))


@dataclass(frozen=True, slots=True)
class ObjectiveDerived:
    """What the program is for, by the reflection LM, as neither settings nor instructions say it."""

    objective: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A batch is about to be rolled out."""

    epoch: int
    step: int
    examples: int
    rollouts: int


@dataclass(frozen=True, slots=True)
class RolloutFinished:
    """One rollout was scored or lost."""

    step: int
    rollout: Scored | Lost
    is_remembered: bool = False
    """Whether an earlier process of the same run made it."""
    dataset: str = "trainset"
    """What its example is part of."""


@dataclass(frozen=True, slots=True)
class GroupFinished:
    """All rollouts of a group are there."""

    step: int
    group: Group


@dataclass(frozen=True, slots=True)
class ReflectionFinished:
    """The reflection LM was asked: for a summary, an extraction or an update; `made.failures` says if in vain."""

    made: Summary | Extraction | Update
    is_remembered: bool = False
    """Whether an earlier process of the same run asked."""


@dataclass(frozen=True, slots=True)
class StepFinished:
    """The library has been updated (and validated)."""

    record: StepRecord


@dataclass(frozen=True, slots=True)
class EpochFinished:
    """All batches of an epoch are done."""

    epoch: int
    library: ExperienceLibrary


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over: complete, or stopped by `error`."""

    result: CompileResult
    program: dspy.Module | None
    """The compiled program; None when the run was stopped."""
    error: BaseException | None = None


Event = (
    RunStarted
    | ObjectiveDerived
    | StepStarted
    | RolloutFinished
    | GroupFinished
    | ReflectionFinished
    | StepFinished
    | EpochFinished
    | RunFinished
)
Observer = Callable[[Event], None]
