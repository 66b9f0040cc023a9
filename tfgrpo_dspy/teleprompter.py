"""Training-Free GRPO as a DSPy teleprompter (Cai et al., arXiv 2510.08191)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import dspy
from dspy.teleprompt import Teleprompter

from tfgrpo_dspy.declaration import documented, noting_given, settings_of, those_of
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.enact import enact
from tfgrpo_dspy.gates.gate import Gate, check_gate
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.retrieval import Retrieval
from tfgrpo_dspy.lm.budget import Budget, Price, Spent
from tfgrpo_dspy.looks.look import call_text
from tfgrpo_dspy.records.decisions import Review
from tfgrpo_dspy.records.events import Observer
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.run.batches import Carried, Step
from tfgrpo_dspy.run.gain import judge_gain
from tfgrpo_dspy.run.preparation import prepare
from tfgrpo_dspy.run.run import Run
from tfgrpo_dspy.run.setup import Setup, check_together
from tfgrpo_dspy.runtime.executor import Executor
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings, naming_the_whole
from tfgrpo_dspy.steps.advantage import contrast
from tfgrpo_dspy.steps.optimisation import propose
from tfgrpo_dspy.steps.rollout import recall, roll_out

if TYPE_CHECKING:
    from tfgrpo_dspy.forecast.forecast import Forecast
    from tfgrpo_dspy.rollouts.past import PastRollouts


@documented(Settings, Setup)
class TrainingFreeGRPO(Teleprompter):
    """Learns an experience library for a program whose LM stays frozen.

    Per step: roll out a group of answers per example, score them with the metric, let an LM say why some of a group
    won (the semantic group advantage), and let it turn all of that into Add, Delete, Modify and Keep operations on
    the library, which the next step's rollouts read. No parameter changes; the library is the token prior.

    Examples:
        >>> optimizer = TrainingFreeGRPO(metric=exact)  # doctest: +SKIP
        >>> better = optimizer.compile(program, trainset)  # doctest: +SKIP
        >>> better.save("better.json")  # doctest: +SKIP

    Args:
        metric: `metric(example, prediction, trace=None)`, or GEPA's five arguments; returns a bool, a finite number
            or `dspy.Prediction(score=, feedback=, parts=)`. Feedback reaches the summarizer. Or a `GroupMetric`, which
            scores a group's rollouts together: `MajorityVote()` and `SelfDiscrimination()` need no ground truth.

    The other keywords are settings: `help(TrainingFreeGRPO)` and docs/options.md say what each is, by group.

    Raises:
        SettingsError: A value is out of its range.

    Source: sections 3 and 4 of the paper; defaults are its settings for mathematics where it names them.
    """

    @noting_given
    def __init__(  # noqa: PLR0913 - flat keywords, as DSPy users expect
        self,
        metric: Metric,
        *,
        auto: Literal["light", "medium", "heavy"] | None = Settings.auto,
        reflection_lm: dspy.BaseLM | None = Setup.reflection_lm,
        temperature: float | None = Settings.temperature,
        failure_score: float = Settings.failure_score,
        seed: int = Settings.seed,
        epochs: int = Settings.epochs,
        batch_size: int | None = Settings.batch_size,
        group_size: int = Settings.group_size,
        min_group_size: int | None = Settings.min_group_size,
        require_contrast: bool = Settings.require_contrast,
        experiences_per_group: int = Settings.experiences_per_group,
        update: Literal["each", "batch"] = Settings.update,
        max_words: int = Settings.max_words,
        max_experiences: int | None = Settings.max_experiences,
        max_library_tokens: int | None = Settings.max_library_tokens,
        count_tokens: Callable[[str], int] | None = Settings.count_tokens,
        retrieval: Retrieval | None = Settings.retrieval,
        conditioned: Sequence[str] | None = Settings.conditioned,
        library: ExperienceLibrary = Settings.library,
        objective: str | None = Settings.objective,
        learning_objective: str | None = Settings.learning_objective,
        use_ground_truth: bool = Settings.use_ground_truth,
        reflection_sees: Sequence[str] = Settings.reflection_sees,
        show_rewards: bool = Settings.show_rewards,
        tolerance: float = Settings.tolerance,
        retries: int = Settings.retries,
        max_trajectory_tokens: int = Settings.max_trajectory_tokens,
        validation_rollouts: int = Settings.validation_rollouts,
        gate: Gate | Sequence[Gate] | None = Setup.gate,
        review: Review | None = Setup.review,
        trials: bool = Settings.trials,
        patience: int | None = Settings.patience,
        require_gain: bool = Settings.require_gain,
        budget: Budget | None = Settings.budget,
        max_outage: float | None = Settings.max_outage,
        max_errors: int | None = Settings.max_errors,
        executor: str | Executor = Setup.executor,
        num_threads: int | None = Settings.num_threads,
        hedge: float = Settings.hedge,
        call_timeout: float | None = Settings.call_timeout,
        rollout_timeout: float | None = Settings.rollout_timeout,
        log_dir: str | PathLike[str] | None = Setup.log_dir,
        restart: bool = Setup.restart,
        accept_changes: bool = Setup.accept_changes,
        identity: str | None = Setup.identity,
        tracking: bool | str | Observer = Setup.tracking,
        observers: Sequence[Observer] = Setup.observers,
        display_progress: bool = Setup.display_progress,
    ) -> None:
        super().__init__()
        gate = check_gate(gate)
        with naming_the_whole(self.given):
            self.settings = Settings.chosen(self.given)
            self.setup = Setup(metric=metric, **{**those_of(Setup, self.given), "gate": gate})
            check_together(self.setup, self.settings)
        self.spent = Spent()
        """What counts against the budget before `compile` begins, e.g. the `spent` of a forecast."""

    def __repr__(self) -> str:
        """The metric, and what was set otherwise than by default."""
        usual = settings_of(Settings, Setup)
        chosen = {name: value for name, value in self.given.items() if name in usual and value != usual[name].default}
        return call_text(type(self).__name__, {"metric": self.setup.metric, **chosen})

    def get_params(self) -> dict[str, Any]:
        """The optimizer's parameters by name; a copy, so that whoever records them can add to it."""
        return {
            **self.settings.as_params(),
            "metric": getattr(self.setup.metric, "__name__", type(self.setup.metric).__name__),
        }

    def compile(  # noqa: PLR0913 - the parameters that DSPy, and BetterTogether by name, may pass
        self,
        student: dspy.Module,
        trainset: Sequence[dspy.Example],
        *,
        valset: Sequence[dspy.Example] | None = None,
        teacher: dspy.Module | None = None,
        num_threads: int | None = None,
        max_errors: int | None = None,
        seed: int | None = None,
        require_gain: bool | None = None,
        rollouts: PastRollouts | None = None,
    ) -> dspy.Module:
        """Learn a library for the student.

        Args:
            student: Any DSPy program; it is not changed. A library attached to it is replaced.
            trainset: Examples with inputs set, at least one.
            valset: Examples on which the library is evaluated before the first step and after each; the last is
                returned unless another is shown to be better. Without, the last is.
            teacher: Must be None: the student learns from its own rollouts.
            num_threads: Overrides the constructor's; so do `max_errors` and `seed`.
            max_errors: See above.
            seed: See above.
            require_gain: Whether to compare the learned library with the one to start from on fresh rollouts of
                half of the valset (or of the gate's held-out problems), which is put aside and chooses nothing, and
                to return the student as it was unless it is better.
            rollouts: Attempts that were recorded before, to learn from instead of fresh ones, in one epoch: one group
                for each example of the trainset, which may be their `examples`.

        Returns:
            A copy of the student that reads the library. `experience_library` is the library,
            `detailed_results` the `CompileResult`.

        Raises:
            SettingsError, DataError, ProgramError: Something cannot be used; no call was made.
            StoreError: `log_dir` is in use, damaged, or holds a run with other settings.
            RunStopped: The provider refused for good, too much was lost, or a review ended the run; `.result` holds
                what was learned.
        """
        if teacher is not None:
            raise SettingsError("`teacher` must be `None`: Training-Free GRPO learns from the student's own rollouts")
        overrides = {"num_threads": num_threads, "max_errors": max_errors, "seed": seed, "require_gain": require_gain}
        settings = self.settings.overridden(overrides)
        if rollouts is not None:
            settings = self._of_the_past(settings, rollouts)
        run = prepare(self._paid(), student, trainset, valset, settings, rollouts)
        with run.store as store:  # nobody else has it until the run is recorded
            with (
                self.setup.executor.open(run.pace) as place,
                run.recorded(),
                Workers(run.num_threads, run.watch, store, place, run.dues) as workers,
            ):
                library, carried = run.initial_library(workers), Carried()
                for step in run.plan():
                    library, carried = learn(run, step, library, carried, workers)
                if run.trials is not None:
                    from tfgrpo_dspy.run.settling import settle

                    settle(run, library, workers)
                result = run.outcome(carried, judge_gain(run, workers))
            return run.program(result)

    def forecast(
        self,
        student: dspy.Module,
        trainset: Sequence[dspy.Example],
        *,
        valset: Sequence[dspy.Example] | None = None,
        pilot: int = 4,
        price_per_million: Price | Mapping[str, Price] | None = None,
    ) -> Forecast:
        """Roll out a small pilot, and forecast what `compile` with the same arguments will take.

        The pilot is the run's own first step on a few of its examples: rollouts, summaries, extractions, an update;
        gates and a review are left out, and what gates take is known from their settings.
        DSPy's cache hands its answers to the run, which pays anew for the update alone. The budget holds for it too,
        together with what an interrupted run in `log_dir` has spent; to make it hold for this pilot and the run
        together, set `spent` of the optimizer to that of the forecast.
        It runs in threads here, whatever the executor of the run.

        Args:
            student: As for `compile`; so are `trainset` and `valset`.
            trainset: See above.
            valset: See above; the first `pilot` examples of it are rolled out.
            pilot: Examples to roll out, >= 1: a sample of the first batch, drawn by the seed.
            price_per_million: US dollars for a million input and output tokens, or model name to that; None takes
                the budget's, else DSPy's price data. Without any, the cost is None: unknown.

        Returns:
            Calls, tokens, cost and time of the whole run, with ranges; `forecast.scaling.scale` says how.

        Raises:
            SettingsError, DataError, ProgramError: As `compile`; no call was made.
            BudgetError, TooManyErrors: The pilot could not be made, or lost more than `max_errors`.
            RequestError: No rollout can succeed: the key, the credit, the model, an option or the address is wrong.
        """
        from tfgrpo_dspy.forecast.pilot import forecast

        return forecast(self._paid(), self.settings, student, trainset, valset, pilot, price_per_million, learn)

    def _of_the_past(self, settings: Settings, rollouts: PastRollouts) -> Settings:
        """Settings for rollouts that were recorded: the same groups again would teach the same again."""
        if self.given.get("epochs", 1) != 1:
            raise SettingsError(f"past rollouts are learned from in one epoch; leave out epochs={settings.epochs}")
        if settings.trials:
            raise SettingsError(
                "`trials` needs rollouts of which some read an experience and some do not, and past ones are as they "
                "are: leave `trials` out"
            )
        return settings.overridden({"epochs": 1, "group_size": rollouts.largest})

    def _paid(self) -> Setup:
        return replace(self.setup, spent=self.spent)


def learn(
    run: Run, step: Step, library: ExperienceLibrary, carried: Carried, workers: Workers
) -> tuple[ExperienceLibrary, Carried]:
    """One step of the method (paper, section 3): the next library, and what could not be used yet."""
    run.start(step)
    policy, briefing = run.policy(library), run.briefing(step, library)
    # 1. Rollout and reward: a group of G per query, scored.
    if run.past is None:
        groups = roll_out(policy, step.queries, run.metric, workers, run.sampling(step, library))
    else:
        groups = recall(run.past, step.queries, workers, step.number)
    # 2. Group advantage: each group is summarised and compared as soon as it is whole.
    contrasts = workers.results(contrast(groups, carried.contrasts, briefing, workers))
    advantages, briefing = carried.with_advantages_of(contrasts), run.weigh(contrasts, briefing)
    # 3. Optimisation: the one barrier, everything in batch order. All that would change the library is one proposal,
    proposal = propose(advantages, briefing, workers)
    #    ruled on by what the library would be; nothing edits it afterwards.
    enacted = enact(run.review, run.gate, run.hearing(proposal, advantages, briefing, workers), run.known)
    run.record(step, contrasts, advantages, proposal, enacted, workers)
    return enacted.library, Carried.after(contrasts, proposal)
