"""What a run leaves: a record of each step, the result of all, and the error that carries it."""

from __future__ import annotations

from dataclasses import dataclass

from tfgrpo_dspy.errors import TFGRPOError
from tfgrpo_dspy.library.apply import Change, Refusal
from tfgrpo_dspy.library.leaks import Flag
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.evaluation import Evaluation, Gain
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.records.updates import Trial


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
    trials: tuple[Trial, ...] = ()
    """What gates measured of the step's proposal."""
    gate_usage: Usage = Usage()
    """Calls of the gates."""
    flags: tuple[Flag, ...] = ()
    """Answers, names and numbers of training problems in what the step wrote."""

    @property
    def pruned(self) -> tuple[Change, ...]:
        """Deletions because of measured effects."""
        return tuple(change for change in self.changes if change.by == "prune")

    @property
    def usage(self) -> Usage:
        """All calls of the step, its gate's included; those of its validation are in `validation.usage`."""
        return self.policy_usage + self.reflection_usage + self.gate_usage


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


class RunStopped(TFGRPOError):
    """A run ended before its last step.

    Attributes:
        result: What had been learned and recorded until then; `result.library` is the library to keep.
    """

    def __init__(self, message: str, result: CompileResult) -> None:
        super().__init__(message)
        self.result = result
