"""What a run leaves: a record of each step, the result of all, and the error that carries it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tfgrpo_dspy.errors import TFGRPOError
from tfgrpo_dspy.library.apply import Change, Refusal
from tfgrpo_dspy.library.leaks import Flag
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.looks.look import Look
from tfgrpo_dspy.looks.value import Shown, Tabular
from tfgrpo_dspy.records.advantages import Fate, SemanticAdvantage
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.rollouts import Group, count_groups, reward_estimate
from tfgrpo_dspy.records.updates import Trial
from tfgrpo_dspy.records.wording import estimate_text, interval_text, lost_text, usage_text
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.statistics.estimates import Estimate
from tfgrpo_dspy.text import counted

if TYPE_CHECKING:
    from tfgrpo_dspy.records.effects import Effect
    from tfgrpo_dspy.records.evaluation import Evaluation, Gain

_TOOK_EFFECT = {"add": "added", "modify": "modified", "delete": "deleted", "keep": "kept"}
_STEPS_SHOWN = 12


@dataclass(frozen=True, slots=True, repr=False)
class StepRecord(Shown):
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
    """Measured so far, of the entries that the step's rollouts read; empty without `trials`."""
    trials: tuple[Trial, ...] = ()
    """What gates measured of the step's proposal."""
    gate_usage: Usage = Usage()
    """Calls of the gates."""
    fates: tuple[Fate, ...] = ()
    """What became of each candidate experience, one each."""
    flags: tuple[Flag, ...] = ()
    """Answers, names and numbers of training problems in what the step wrote."""

    @property
    def by_trial(self) -> tuple[Change, ...]:
        """What was taken out, or back, because of measured effects."""
        return tuple(change for change in self.changes if change.by == "trial")

    @property
    def is_whole(self) -> bool:
        """Whether no limit cut it short."""
        lost = any(rollout.cause == "budget" for group in self.groups for rollout in group.lost)
        return not lost and all(failure.is_error for failure in self.failures)

    @property
    def usage(self) -> Usage:
        """All calls of the step, its gate's included; those of its validation are in `validation.usage`."""
        return self.policy_usage + self.reflection_usage + self.gate_usage

    @property
    def operation_counts(self) -> dict[str, int]:
        """How many operations of each kind took effect, and how many were refused."""
        counts = dict.fromkeys(("add", "modify", "delete", "keep"), 0)
        for change in self.changes:
            counts[change.kind] += 1
        return {**counts, "refused": len(self.refusals)}

    @property
    def fate_counts(self) -> Counter[str]:
        """How many candidate experiences became what; one that is carried counts once more in the next step."""
        return Counter(fate.became for fate in self.fates)

    def to_text(self, tolerance: float = Settings.tolerance) -> str:
        """The step on one line: reward, informative groups, losses, operations, library, use, time."""
        counts = count_groups(self.groups, tolerance)
        lost = sum(len(g.lost) for g in self.groups)
        validation = self.validation
        parts = [
            f"reward {estimate_text(reward_estimate(self.groups), questions=True)}",
            f"{counts.informative}/{len(self.groups)} groups informative",
            *([f"{lost} lost"] if lost else []),
            *([f"{len(self.failures)} failed"] if self.failures else []),
            operations_text(self) or "no operation",
            *([f"{len(self.flags)} texts worth a look"] if self.flags else []),
            counted(len(self.library), "experience"),
            *([f"validation {estimate_text(validation.mean, questions=True)}"] if validation else []),
            usage_text(self.usage + validation.usage if validation else self.usage),
            f"{self.seconds:.1f} s",
        ]
        return "; ".join(parts)

    def look(self) -> Look:
        """What it measured, and what it did to the library."""
        return Look(f"StepRecord {self.step}: {self.to_text()}")


@dataclass(frozen=True, slots=True, repr=False)
class CompileResult(Tabular):
    """What a run learned and how: `program.detailed_results` of a compiled program.

    A pickle of it, and so of the program, holds the library alone and says so in `unrecorded`: its steps hold training
    examples with their labels, which are nobody's business where a program is served. `to_dict()` has all of it.
    """

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
    ended: Ended = Ended()
    traffic: Traffic = Traffic()
    """Requests at the endpoints, with what failed and was repeated."""
    effects: tuple[Effect, ...] = ()
    """Measured over all steps, of the entries of `library` that any rollout read; empty without `trials`."""
    gain: Gain | None = None
    """With `require_gain`, whether the learned library was better; if not, `library` is the initial one, and
    `gain.withheld` says why."""

    @property
    def stopped_by(self) -> str | None:
        """What ended the run before its last step in good order, as an `Evaluation` says it; None for nothing."""
        if self.ended.is_whole or not self.ended.is_in_order:
            return None
        return f"{self.ended.why}; not done: {self.ended.left}"

    @property
    def usage(self) -> Usage:
        """All calls of the run, validation included."""
        total = sum((s.usage for s in self.steps), self.gain.usage if self.gain is not None else Usage())
        judged = (self.initial_validation, *(s.validation for s in self.steps))
        return sum((v.usage for v in judged if v is not None), total)

    def look(self) -> Look:
        """How it ended, step by step."""
        after = f"{counted(len(self.library), 'experience')} after {counted(len(self.steps), 'step')}"
        lost: Counter[str] = Counter(r.cause for step in self.steps for g in step.groups for r in g.lost)
        kept = "the library to start from" if self.best_step == 0 else f"the library after step {self.best_step}"
        told = []
        if self.gain is not None:
            shown = interval_text(self.gain.difference) if self.gain.difference is not None else "not measured"
            told.append(f"gain: {shown}{f'; {self.gain.withheld}' if self.gain.withheld else ''}")
        if self.effects:
            helpful, harmful = (sum(e.low > 0 for e in self.effects), sum(e.high < 0 for e in self.effects))
            told.append(f"effects: of {len(self.effects)} measured {helpful} help, {harmful} harm")
        lines = (
            *(() if self.ended.is_whole else (self.ended.sentence, *self.ended.details())),
            *(f"step {step.step}: {step.to_text()}" for step in self.steps[:_STEPS_SHOWN]),
            f"... {len(self.steps) - _STEPS_SHOWN} more steps" if len(self.steps) > _STEPS_SHOWN else "",
            f"kept: {kept}, best on the validation examples" if self.best_step is not None else "",
            *told,
            f"lost rollouts, never scored: {lost_text(lost)}" if lost else "",
            f"never reached the library: {counted(len(self.unused), 'lesson')}" if self.unused else "",
            *(f"not recorded: {line}" for line in self.unrecorded[:1]),
            f"{self.usage.lm_calls:,} LM calls, {usage_text(self.usage)}",
        )
        return Look(f"CompileResult: {after}", lines, more="all of it: library, steps, to_dict(), to_dataframe()")

    def rows(self) -> list[dict[str, Any]]:
        """A row per step."""
        return [
            {
                "epoch": step.epoch,
                "step": step.step,
                **_estimate_row("reward", reward_estimate(step.groups)),
                "groups": len(step.groups),
                "informative": count_groups(step.groups, Settings.tolerance).informative,
                "lost": sum(len(group.lost) for group in step.groups),
                "failures": len(step.failures),
                **step.operation_counts,
                "experiences": len(step.library),
                **_estimate_row("validation", step.validation.mean if step.validation is not None else None),
                "lm_calls": step.usage.lm_calls,
                "cost_usd": step.usage.cost_usd,
                "seconds": step.seconds,
            }
            for step in self.steps
        ]

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # a frozen value, which a program's copies share

    def __reduce__(self) -> tuple[Callable[[ExperienceLibrary], CompileResult], tuple[ExperienceLibrary]]:
        return _of_pickle, (self.library,)


def operations_text(*records: StepRecord) -> str:
    """`3 added, 1 refused`: what became of the operations of some steps; empty for none."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.operation_counts)
    return ", ".join(f"{n} {_TOOK_EFFECT.get(kind, kind)}" for kind, n in counts.items() if n)


def _of_pickle(library: ExperienceLibrary) -> CompileResult:
    left_out = "the steps of the run: a pickle leaves them out, as they hold training examples"
    return CompileResult(library, (), library, unrecorded=(left_out,))


def _estimate_row(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


class RunStopped(TFGRPOError):
    """A run ended before its last step.

    Attributes:
        result: What had been learned and recorded until then; `result.library` is the library to keep.
    """

    def __init__(self, message: str, result: CompileResult) -> None:
        super().__init__(message)
        self.result = result
