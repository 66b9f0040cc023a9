"""The bookkeeping of one compile: what is planned, announced, recorded and returned. The loop is in `teleprompter`."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.errors import BudgetError, EveryRolloutFailed, RequestError, ReviewStop, TooManyErrors
from tfgrpo_dspy.gates.flags import known_of
from tfgrpo_dspy.gates.gate import Gate, Hearing
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Keep
from tfgrpo_dspy.library.retrieval import Shelf
from tfgrpo_dspy.lm.budget import Reason
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.checks import lm_names, lms_of
from tfgrpo_dspy.program.instructions import check_conditioned
from tfgrpo_dspy.records.advantages import Contrast, SemanticAdvantage, by_label
from tfgrpo_dspy.records.evaluation import Evaluation, Gain
from tfgrpo_dspy.records.events import EpochFinished, RunFinished, RunStarted, StepFinished, StepStarted
from tfgrpo_dspy.records.result import CompileResult, RunStopped, StepRecord
from tfgrpo_dspy.records.rollouts import Group, step_of
from tfgrpo_dspy.records.updates import Enacted, Learned, Proposal
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.run.batches import Carried, Step
from tfgrpo_dspy.run.ending import best_step, ended, epochs_without_progress, stopped, with_gain
from tfgrpo_dspy.run.identity import circumstances_of
from tfgrpo_dspy.run.policy import as_policy, run_cues, tasks_of
from tfgrpo_dspy.runtime.announcer import Announcer
from tfgrpo_dspy.runtime.dues import Dues
from tfgrpo_dspy.runtime.executor import Pace
from tfgrpo_dspy.runtime.losses import (
    Watch,
    check_that_one_came_through,
    warn_if_little_was_learnable,
    warn_of_scores_below_failure,
)
from tfgrpo_dspy.runtime.store import OUTCOME, START, Store
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings, meter_for
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.fates import fates_of, warn_of
from tfgrpo_dspy.steps.objective import Objective, derive
from tfgrpo_dspy.steps.reflection import Reflection
from tfgrpo_dspy.text import counted

if TYPE_CHECKING:
    from tfgrpo_dspy.credit.of_run import Trials
    from tfgrpo_dspy.records.decisions import Review
    from tfgrpo_dspy.rollouts.adaptive import Stopping
    from tfgrpo_dspy.rollouts.past import PastRollouts
    from tfgrpo_dspy.run.evaluator import RunEvaluator

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """One compile under way: the one object that changes while a run goes on, and only by appending records."""

    settings: Settings
    """Overrides of `compile` included."""
    student: dspy.Module
    """Without any library."""
    trainset: tuple[dspy.Example, ...]
    valset: tuple[dspy.Example, ...] | None
    """Selects among the libraries."""
    metric: Metric
    objective: str
    """What the student is meant to do well, for the reflection prompts."""
    reflection: Reflection
    announcer: Announcer
    store: Store
    """Where finished tasks keep their results."""
    judging: tuple[dspy.Example, ...] = ()
    """Problems of the final comparison, which choose nothing; empty where no gain is required."""
    gate: Gate | None = None
    review: Review | None = None
    past: PastRollouts | None = None
    """Rollouts to learn from instead of fresh ones."""
    records: list[StepRecord] = field(default_factory=list)
    initial_validation: Evaluation | None = None
    step_started: float = 0.0
    """Reading of `time.perf_counter` when the present step began."""

    def __post_init__(self) -> None:
        examples = len(self.trainset) + len(self.valset or ())
        self.watch = Watch(self.settings.max_errors, self.announcer, examples)
        self.num_threads: int = self.settings.num_threads or dspy.settings.num_threads or 1
        self.lms = lm_names(self.student, self.reflection.lm)
        self.meter = meter_for(self.settings, self.num_threads)
        self.dues = Dues(self.meter, self.settings)
        self.stopping: Stopping | None = None
        if self.settings.min_group_size is not None:
            from tfgrpo_dspy.rollouts.adaptive import Stopping

            least = self.settings.min_group_size
            self.stopping = Stopping(least, self.settings.tolerance, in_pairs=self.settings.trials)
        self.trials: Trials | None = None
        if self.settings.trials:
            from tfgrpo_dspy.credit.likeness import Likeness
            from tfgrpo_dspy.credit.of_run import Trials

            known = {source for entry in self.settings.library for source in entry.provenance.sources}
            self.trials = Trials(Likeness(tasks_of(self.trainset), known))
        self.known = known_of(self.trainset)
        self.derived = Objective("")

    @property
    def steps(self) -> int:
        """Steps planned."""
        examples = len(self.trainset)
        return -(-examples // (self.settings.batch_size or examples)) * self.settings.learning_epochs

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Announce the run's start, and its end if an error ends it; what was learned goes with the error."""
        if self.store.is_kept:
            self._go_on_with_the_account()
        batches = list(self.plan())
        rollouts = sum(len(step.queries) for step in batches) * self.settings.group_size
        found, calls = self.store.found, self.store.before.lm_calls
        resumed = f"{counted(found, 'result')} and {counted(calls, 'LM call')} of before" if found or calls else ""
        started = RunStarted(
            self.settings,
            self.student,
            self.trainset,
            self.valset,
            self.settings.library,
            self.lms,
            len(batches),
            rollouts,
            self.store.token,
            resumed,
        )
        if self.store.is_kept:
            from tfgrpo_dspy.run.recall import start_as_json

            self.store.set_fact(START, start_as_json(started))
            self.store.set_fact(OUTCOME, None)
        self.announcer(started)
        try:
            with metering(self.meter, lms_of(self.student, self.reflection.lm)):
                yield
            self._settle()
        except BaseException as error:
            result = self._result(Carried(), error)
            self.store.keep_result(result)
            self.announcer(RunFinished(result, None, error))
            if isinstance(error, RequestError | TooManyErrors | ReviewStop):
                raise RunStopped(stopped(error, len(batches), result), result) from error
            raise

    def _go_on_with_the_account(self) -> None:
        """Count what an earlier process of this run spent.

        Raises:
            SettingsError: A cap was set that is below it.
        """
        spending, budget = self.meter.spending, self.settings.budget
        spending.keep_in(self.store)
        self.meter.outages.are_proven = self.store.before.tokens > 0
        caps = None if budget is None else budget.caps
        if budget is not None and self.store.fact("caps") != caps:
            budget.check_above(spending.spent)
        self.store.set_fact("caps", caps)

    def _settle(self) -> None:
        """What was lost in what is over is final, unless a limit ended it: then it is made when the limit is raised."""
        if self.meter.stopped_by is None:
            self.store.settle()

    @property
    def pace(self) -> Pace:
        """How hard rollouts in other processes may press the endpoints."""
        settings = self.settings
        return Pace(
            self.num_threads,
            settings.call_timeout,
            settings.hedge,
            settings.seed,
            settings.max_outage,
            settings.budget,
        )

    def plan(self) -> Iterator[Step]:
        """The batches of the epochs that are learned from; with a batch size, shuffled by seed and epoch."""
        size = self.settings.batch_size or len(self.trainset)
        number = 0
        for epoch in range(1, self.settings.learning_epochs + 1):
            if self._is_out_of_patience:
                return
            queries = [Query(i, example) for i, example in enumerate(self.trainset)]
            if self.settings.batch_size is not None:
                random.Random(f"{self.settings.seed}/{epoch}").shuffle(queries)
            for start in range(0, len(queries), size):
                if self.meter.stopped_by is not None:
                    return
                number += 1
                batch = tuple(queries[start : start + size])
                yield Step(epoch, number, batch, ends_epoch=start + size >= len(queries))

    def initial_library(self, workers: Workers) -> ExperienceLibrary:
        """The library to start from, evaluated if there is a valset; what the program is for is found out as well."""
        self.derived = derive(self.trainset, self.metric, self.objective, self.settings, self.reflection, workers)
        self.objective = self.derived.text or self.objective
        self.initial_validation = self._validate(self.settings.library, 0, workers)
        return self.settings.library

    def start(self, step: Step) -> None:
        """Announce a step."""
        self.step_started = time.perf_counter()
        examples = len(step.queries)
        self.announcer(StepStarted(step.epoch, step.number, examples, examples * self.settings.group_size))

    def policy(self, library: ExperienceLibrary) -> dspy.Module:
        """The student reading a library, all of it or what it retrieves."""
        return as_policy(self.student, library, self.settings, self.trainset)

    def finished(self, library: ExperienceLibrary) -> dspy.Module:
        """The student reading a library as users of it will: what was measured of its entries is known.

        While they are on trial nothing is known of them, or what is in doubt would no longer be measured.
        """
        effects = () if self.trials is None else self.trials.of(library)
        return as_policy(self.student, library, self.settings, self.trainset, effects)

    def briefing(self, step: Step, library: ExperienceLibrary) -> Briefing:
        """What the reflection prompts of a step are told."""
        names = check_conditioned(self.student, self.settings.conditioned)
        said = self.settings.objective or self.derived.text
        learned = Learned(tuple(self.lms.values()), circumstances_of(self.student, self.metric, said))
        shelf = None
        if self.settings.retrieval is not None:
            shelf = Shelf(library, self.settings.retrieval, run_cues(library, self.settings, self.trainset))
        return Briefing(
            self.objective,
            library,
            self.settings,
            step.number,
            self.reflection,
            readers=names if len(names) > 1 else (),
            learned=learned,
            is_last=step.number >= self.steps,
            known=self.known,
            shelf=shelf,
        )

    def sampling(self, step: Step, library: ExperienceLibrary) -> Sampling:
        """How the step's rollouts, which read that library, are drawn."""
        purpose = f"training seed {self.settings.seed}"
        sampling = Sampling.of(self.settings, purpose, step.number, self.settings.group_size)
        on_trial = {} if self.trials is None else self.trials.on_trial(library)
        return replace(sampling, stopping=self.stopping, on_trial=on_trial, is_learned_from=True)

    def weigh(self, contrasts: Sequence[Contrast], briefing: Briefing) -> Briefing:
        """What step 3 is told: what experiences on trial were measured to do as well."""
        if self.trials is None:
            return briefing
        effects = self.trials.take(_groups_of(briefing.step, contrasts), briefing.library)
        return replace(briefing, effects=effects, dismissed=self.trials.dismissed(briefing.library))

    def hearing(
        self, proposal: Proposal, advantages: Sequence[SemanticAdvantage], briefing: Briefing, workers: Workers
    ) -> Hearing:
        """What those who rule on a proposal are told."""
        operations = tuple(operation for operation in proposal.operations if not isinstance(operation, Keep))
        cited, evaluator = by_label(advantages), self.evaluator(workers)
        return Hearing(proposal, operations, briefing, cited, self.trainset, workers, evaluator)

    def evaluator(self, workers: Workers) -> RunEvaluator:
        """Where libraries are tried out on examples with fresh rollouts."""
        from tfgrpo_dspy.run.evaluator import RunEvaluator

        return RunEvaluator(self.finished, self.metric, self.settings, workers)

    def record(
        self,
        step: Step,
        contrasts: Sequence[Contrast],
        advantages: Sequence[SemanticAdvantage],
        proposal: Proposal,
        enacted: Enacted,
        workers: Workers,
    ) -> None:
        """Validate the library of a finished step, and record and announce what it did."""
        groups = _groups_of(step.number, contrasts)
        self.stopping = self.stopping.after(groups) if self.stopping is not None else None
        fates = fates_of(contrasts, advantages, proposal, enacted)
        warn_of(step.number, fates, proposal)
        asked_before = Usage() if self.records else self.derived.usage
        record = StepRecord(
            epoch=step.epoch,
            step=step.number,
            groups=groups,
            advantages=tuple(advantages),
            changes=enacted.changes,
            refusals=enacted.refusals,
            library=enacted.library,
            failures=(*(f for c in contrasts for f in c.failures), *proposal.failures),
            policy_usage=sum((r.usage for g in groups for r in g.rollouts), Usage()),
            reflection_usage=sum((c.usage for c in contrasts), proposal.usage + asked_before),
            seconds=time.perf_counter() - self.step_started,
            effects=() if self.trials is None else self.trials.latest,
            trials=enacted.trials,
            gate_usage=enacted.usage,
            fates=fates,
            flags=enacted.flags,
        )
        read = self.library
        self.records.append(record)  # before the validation, so that an error in it does not lose the step
        try:
            check_that_one_came_through(record, read)
        except EveryRolloutFailed:
            self.announcer(StepFinished(record))
            raise
        record = replace(record, validation=self._validate(enacted.library, step.number, workers))
        warn_of_scores_below_failure(groups, self.settings.failure_score)
        if self.settings.require_contrast:
            warn_if_little_was_learnable(record, self.settings.tolerance)
        self._settle()
        self.announcer(StepFinished(record))
        self.records[-1] = self.store.keep_step(record)
        if step.ends_epoch:
            self.announcer(EpochFinished(step.epoch, enacted.library))

    @property
    def library(self) -> ExperienceLibrary:
        """The library after the last finished step."""
        return self.records[-1].library if self.records else self.settings.library

    @property
    def best_library(self) -> ExperienceLibrary:
        """The library that would be returned now."""
        return self._result(Carried()).library

    @property
    def _is_out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and epochs_without_progress(self.records, self.initial_validation) >= patience

    def outcome(self, carried: Carried, gain: Gain | None = None) -> CompileResult:
        """What the run came to, which its store keeps."""
        result = with_gain(self._result(carried), gain)
        self.store.keep_result(result)
        return result

    def program(self, result: CompileResult) -> dspy.Module:
        """The student with the library to keep, and the record of the run."""
        program = self.finished(result.library)
        program.detailed_results = result
        self.announcer(RunFinished(result, program))
        unrecorded = self.announcer.unrecorded
        if unrecorded:
            logger.warning("not everything was recorded: %s", "; ".join(unrecorded))
            program.detailed_results = replace(result, unrecorded=unrecorded)
        return program

    def _validate(self, library: ExperienceLibrary, step: int, workers: Workers) -> Evaluation | None:
        if self.valset is None or self.meter.stopped_by is not None:
            return None
        policy = self.finished(library)
        from tfgrpo_dspy.evaluation import evaluate_with

        purpose, k = f"validation seed {self.settings.seed}", self.settings.validation_rollouts
        sampling = Sampling.of(self.settings, purpose, step, k, "valset")
        try:
            return evaluate_with(workers, policy, self.valset, self.metric, sampling)
        except BudgetError:
            return None

    def _result(self, carried: Carried, error: BaseException | None = None) -> CompileResult:
        libraries = [self.settings.library, *(record.library for record in self.records)]
        best = best_step([self.initial_validation, *(record.validation for record in self.records)])
        library = replace(libraries[-1 if best is None else best], next_id=libraries[-1].next_id)
        stopped_by = self.meter.stopped_by
        if stopped_by is None and self._is_out_of_patience and len(self.records) < self.steps:
            stopped_by = Reason(f"patience={self.settings.patience}: no progress in so many epochs", "patience")
        return CompileResult(
            library=library,
            steps=tuple(self.records),
            initial_library=self.settings.library,
            best_step=best,
            initial_validation=self.initial_validation,
            unused=carried.as_failures(),
            ended=ended(error, stopped_by, self.records, self.steps, self.store.kept),
            traffic=self.meter.traffic,
            effects=() if self.trials is None else self.trials.of(library),
        )


def _groups_of(step: int, contrasts: Sequence[Contrast]) -> tuple[Group, ...]:
    """The groups of the step itself, without those carried into it."""
    return tuple(c.group for c in contrasts if step_of(c.group.name) == step)
