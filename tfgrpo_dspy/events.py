"""What the loop announces, and what a run leaves behind. Frozen values; listeners never steer.

An observer is any callable that takes one `Event`. Events arrive one at a time, in the thread that runs `compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tfgrpo_dspy.usage import Traffic, Usage

if TYPE_CHECKING:
    import dspy

    from tfgrpo_dspy.advantage import SemanticAdvantage
    from tfgrpo_dspy.credit import Effect
    from tfgrpo_dspy.evaluation import Evaluation
    from tfgrpo_dspy.experience import Change, ExperienceLibrary, Refusal
    from tfgrpo_dspy.gain import Gain
    from tfgrpo_dspy.group import Group, Lost, Scored
    from tfgrpo_dspy.harm import Flag
    from tfgrpo_dspy.ruling import Ruling
    from tfgrpo_dspy.settings import Settings


@dataclass(frozen=True, slots=True)
class Failure:
    """Something of a run that could not be done; never silent, never a zero."""

    stage: Literal["summary", "extraction", "update"]
    where: str
    """The rollout (`s1/e12/r0`), group (`s1/e12`) or step (`s1`) concerned."""
    reason: str
    remedy: str
    """What was done instead, e.g. "the shortened trajectory was used" or "carried to the next step"."""
    is_error: bool = True
    """False when it was not attempted, because the budget allowed nothing more."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """All that one step did: the batch's groups, what they taught, what became of the library."""

    epoch: int
    """From 1."""
    step: int
    """From 1, over all epochs."""
    groups: tuple[Group, ...]
    """In batch order."""
    advantages: tuple[SemanticAdvantage, ...]
    """In batch order, those carried from the step before first."""
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    library: ExperienceLibrary
    """After the step."""
    failures: tuple[Failure, ...]
    policy_usage: Usage
    """Calls of the rollouts."""
    reflection_usage: Usage
    """Calls of summaries, extractions and the update."""
    seconds: float
    """Wall-clock time."""
    validation: Evaluation | None = None
    """The new library on the valset, when there is one."""
    effects: tuple[Effect, ...] = ()
    """Measured so far, of the entries that the step's rollouts read; empty without `dropout`."""
    pruned: tuple[Change, ...] = ()
    """Deletions that followed the update, because of measured effects."""
    unpruned: ExperienceLibrary | None = None
    """The library before those deletions; None if there were none."""
    fitted: tuple[Change, ...] = ()
    """What changed after the update, and after those deletions, to keep within `max_library_tokens`."""
    unfitted: ExperienceLibrary | None = None
    """The library before that; None if nothing had to change."""
    ruling: Ruling | None = None
    """What the gate measured; None without a gate, and if it had nothing to rule on."""
    flags: tuple[Flag, ...] = ()
    """Signs of harm in what the step changed, see `harm`."""

    @property
    def usage(self) -> Usage:
        """All calls of the step, its gate's included; those of its validation are in `validation.usage`."""
        own = self.policy_usage + self.reflection_usage
        return own if self.ruling is None else own + self.ruling.usage


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What a run learned and how: `program.detailed_results` of a compiled program."""

    library: ExperienceLibrary
    """The library of the returned program: the best on the valset, or the last."""
    steps: tuple[StepRecord, ...]
    initial_library: ExperienceLibrary
    best_step: int | None = None
    """With a valset, the step whose library was kept (0 for the initial one); None without."""
    initial_validation: Evaluation | None = None
    unused: tuple[Failure, ...] = ()
    """What was still carried when the last step ended: insights that never reached the library."""
    unrecorded: tuple[str, ...] = ()
    """What an observer (MLflow, progress) could not take; empty when everything was recorded."""
    stopped_by: str | None = None
    """What ended the run before its last step in good order, and what it would have done next; None for nothing."""
    traffic: Traffic = Traffic()
    """Requests at the endpoints, with what failed and was repeated."""
    effects: tuple[Effect, ...] = ()
    """Measured over all steps, of the entries of `library` that any rollout read; empty without `dropout`."""
    gain: Gain | None = None
    """With `require_gain`, whether the learned library was better; if not, `library` is the initial one, and
    `gain.withheld` says why."""

    @property
    def usage(self) -> Usage:
        """All calls of the run, validation included."""
        total = sum((s.usage for s in self.steps), self.gain.usage if self.gain is not None else Usage())
        judged = (self.initial_validation, *(s.validation for s in self.steps))
        return sum((v.usage for v in judged if v is not None), total)


@dataclass(frozen=True, slots=True)
class RunStarted:
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
    """Names the run for ever, also when it is taken up after a kill; None without a journal."""


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


@dataclass(frozen=True, slots=True)
class GroupFinished:
    """All rollouts of a group are there."""

    step: int
    group: Group


@dataclass(frozen=True, slots=True)
class SummaryFinished:
    """One rollout of an informative group was summarised (or its trajectory taken instead)."""

    step: int
    rollout: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class AdvantageFinished:
    """A group's semantic advantage was extracted."""

    step: int
    advantage: SemanticAdvantage
    usage: Usage


@dataclass(frozen=True, slots=True)
class FailureRecorded:
    """A summary, an extraction or an update could not be had."""

    step: int
    failure: Failure


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
class GainJudged:
    """With `require_gain`, the last word before the run is over: whether the learned library is returned."""

    gain: Gain


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over: complete, or stopped by `error`."""

    result: CompileResult
    program: dspy.Module | None
    """The compiled program; None when the run was stopped."""
    error: BaseException | None = None


Event = (
    RunStarted
    | StepStarted
    | RolloutFinished
    | GroupFinished
    | SummaryFinished
    | AdvantageFinished
    | FailureRecorded
    | StepFinished
    | EpochFinished
    | GainJudged
    | RunFinished
)
Observer = Callable[[Event], None]
