"""Training-Free GRPO as a DSPy teleprompter (Cai et al., arXiv 2510.08191)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import dspy
from dspy.teleprompt import Teleprompter

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import Gate, gated
from tfgrpo_dspy.gates.review import Review, reviewed
from tfgrpo_dspy.gates.screen import check_gate
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.budget import Budget, Price, Spent
from tfgrpo_dspy.records.events import Observer
from tfgrpo_dspy.rewards.reward import Metric, check_metric
from tfgrpo_dspy.rollouts.adaptive import check_adaptive
from tfgrpo_dspy.run.batches import Carried, Outcome
from tfgrpo_dspy.run.gain import judge_gain
from tfgrpo_dspy.run.preparation import prepare
from tfgrpo_dspy.run.setup import Setup, check_executor, listeners
from tfgrpo_dspy.run.trials import hearing_of
from tfgrpo_dspy.runtime.executor import Executor
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.advantage import contrast
from tfgrpo_dspy.steps.optimisation import decide
from tfgrpo_dspy.steps.rollout import roll_out

if TYPE_CHECKING:
    from tfgrpo_dspy.forecast.forecast import Forecast


class TrainingFreeGRPO(Teleprompter):
    """Learns an experience library for a program whose LM stays frozen.

    Per step: roll out a group of answers per example, score them with the metric, let an LM say why some of a group
    won (the semantic group advantage), and let it turn all of that into Add, Delete, Modify and Keep operations on
    the library, which the next step's rollouts read. No parameter changes; the library is the token prior.

    Example:
        >>> optimizer = TrainingFreeGRPO(metric=exact)  # doctest: +SKIP
        >>> better = optimizer.compile(program, trainset)  # doctest: +SKIP
        >>> better.save("better.json")  # doctest: +SKIP

    Args:
        metric: `metric(example, prediction, trace=None)`, or GEPA's five arguments; returns a bool, a finite number
            or `dspy.Prediction(score=, feedback=, parts=)`. Feedback reaches the summarizer. Or a `GroupMetric`, which
            scores a group's rollouts together: `MajorityVote()` and `SelfDiscrimination()` need no ground truth.
        reflection_lm: The LM that summarises, compares and updates; None takes the configured one.
        epochs: Passes over the trainset, >= 1.
        batch_size: Examples per step, >= 1; None for one batch per epoch.
        group_size: Rollouts per example, >= 1.
        temperature: Rollout temperature, > 0; None keeps each LM's own.
        experiences_per_group: Candidate experiences a group may give, >= 1.
        max_words: Words per experience, >= 1.
        library: The library to start from; None for an empty one.
        objective: What the program is meant to do well; None takes its own instructions.
        use_ground_truth: Whether summarizer and extractor are shown the expected outputs.
        failure_score: Reward of a rollout in which the program itself failed.
        max_experiences: Entries of the library at most; None for no bound.
        max_library_tokens: Estimated tokens of the library at most; None for no bound.
        conditioned: Names of the predictors that read the library; None for all (of a ReAct agent the acting one).
        num_threads: Concurrent tasks, which bounds concurrent LM calls; None takes DSPy's setting.
        max_errors: Losses tolerated before the run is stopped; None takes DSPy's setting.
        budget: Caps on calls, tokens, US dollars and time. Nothing new starts that would exceed one; the run then
            ends in good order with the library it has, and `detailed_results.stopped_by` says what came next.
        hedge: Share of the calls, in [0, 1], that may be sent a second time when they are slow; the first answer
            counts, and both are paid.
        call_timeout: Seconds that an LM call may take; None learns it from the latency observed.
        rollout_timeout: Seconds that a rollout may take with its metric; a longer one is lost, and what hangs in it
            is left behind in a thread of its own.
        executor: Where rollouts run: `threads` of this process, `ray`, or a `RayExecutor(address=...)`; the library
            is the same. With Ray a budget cannot be kept, so it is refused.
        seed: Draws the rollouts and the batches.
        log_dir: Folder for the run's journal; None keeps none. A run that was killed is taken up by calling `compile`
            again with the same arguments: it ends in the same library and pays only for what was in flight.
        restart: Put a journal that is in `log_dir` aside, and start over.
        gate: Decides which operations of a step may enter: `Holdout(examples)` measures on held-out problems, `Judge()`
            lets an LM screen each text, several rule one after the other. None applies what the update says (paper).
        review: Called with the library and the proposals of a step before they are applied, returns a `Decision` for
            each (accept, edit or refuse); None applies what the update says.
        tracking: True records to MLflow, a string does under that experiment name, an `MLflowTracking` as it says.
        observers: Further listeners, each called with every `Event`.
        display_progress: Show progress; None shows it on a terminal.
        **more: Any other field of `Settings`: `dropout` (measures what each experience does), `prune`,
            `min_group_size`, `tolerance`, `retries`, `validation_rollouts`, ...

    Raises:
        SettingsError: A value is out of its range.

    Source: sections 3 and 4 of the paper; defaults are its settings for mathematics where it names them.
    """

    def __init__(  # noqa: PLR0913 - flat keywords, as DSPy users expect
        self,
        metric: Metric,
        *,
        reflection_lm: dspy.BaseLM | None = None,
        epochs: int = 3,
        batch_size: int | None = None,
        group_size: int = 5,
        temperature: float | None = 0.7,
        experiences_per_group: int = 1,
        max_words: int = 32,
        library: ExperienceLibrary | None = None,
        objective: str | None = None,
        use_ground_truth: bool = True,
        failure_score: float = 0.0,
        max_experiences: int | None = None,
        max_library_tokens: int | None = None,
        conditioned: Sequence[str] | None = None,
        num_threads: int | None = None,
        max_errors: int | None = None,
        budget: Budget | None = None,
        hedge: float = 0.0,
        call_timeout: float | None = None,
        rollout_timeout: float | None = None,
        executor: str | Executor = "threads",
        seed: int = 0,
        log_dir: str | PathLike[str] | None = None,
        restart: bool = False,
        gate: Gate | Sequence[Gate] | None = None,
        review: Review | None = None,
        tracking: bool | str | Observer = False,
        observers: Sequence[Observer] = (),
        display_progress: bool | None = None,
        **more: Any,
    ) -> None:
        super().__init__()
        self.metric = check_metric(metric)
        self.reflection_lm = reflection_lm
        self.log_dir = log_dir
        self.restart = restart
        self.spent = Spent()
        """What counts against the budget before `compile` begins, e.g. the `spent` of a forecast."""
        self.review = _check_review(review)
        self.tracking = _check_tracking(tracking)
        self.observers = _check_observers(observers)
        self.display_progress = display_progress
        self.settings = Settings.checked(
            epochs=epochs,
            batch_size=batch_size,
            group_size=group_size,
            temperature=temperature,
            experiences_per_group=experiences_per_group,
            max_words=max_words,
            library=ExperienceLibrary() if library is None else library,
            objective=objective,
            use_ground_truth=use_ground_truth,
            failure_score=failure_score,
            max_experiences=max_experiences,
            max_library_tokens=max_library_tokens,
            conditioned=_check_names(conditioned),
            num_threads=num_threads,
            max_errors=max_errors,
            budget=budget,
            hedge=hedge,
            call_timeout=call_timeout,
            rollout_timeout=rollout_timeout,
            seed=seed,
            **more,
        )
        self.gate = check_gate(gate, self.settings)
        self.executor = check_executor(executor, self.settings)
        check_adaptive(self.settings, self.metric)

    def get_params(self) -> dict[str, Any]:
        """The optimizer's parameters by name; a copy, so that whoever records them can add to it."""
        return {**self.settings.as_params(), "metric": getattr(self.metric, "__name__", type(self.metric).__name__)}

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
    ) -> dspy.Module:
        """Learn a library for the student.

        Args:
            student: Any DSPy program; it is not changed. A library attached to it is replaced.
            trainset: Examples with inputs set, at least one.
            valset: Examples on which the library is evaluated before the first step and after each; the best is
                returned, the earlier of equals. Without, the last is.
            teacher: Must be None: the student learns from its own rollouts.
            num_threads: Overrides the constructor's; so do `max_errors` and `seed`.
            max_errors: See above.
            seed: See above.
            require_gain: Whether to compare the learned library with the one to start from on fresh rollouts of the
                valset (or the gate's held-out problems), and to return the student as it was unless it is better.

        Returns:
            A copy of the student that reads the library. `experience_library` is the library,
            `detailed_results` the `CompileResult`.

        Raises:
            SettingsError, DataError, ProgramError: Something cannot be used; no call was made.
            JournalError: `log_dir` is in use, damaged, or holds a run with other settings.
            RunStopped: The provider refused for good, too much was lost, or a review ended the run; `.result` holds
                what was learned.
        """
        if teacher is not None:
            raise SettingsError("teacher must be None: Training-Free GRPO learns from the student's own rollouts")
        overrides = {"num_threads": num_threads, "max_errors": max_errors, "seed": seed, "require_gain": require_gain}
        run = prepare(self._setup(), student, trainset, valset, self.settings.overridden(overrides))
        with (
            self.executor.open(run.pace) as place,
            run.memory as memory,
            run.recorded(),
            Workers(run.num_threads, run.watch, memory, place) as workers,
        ):
            library, carried = run.initial_library(workers), Carried()
            for step in run.plan():
                briefing = run.start(step, library)
                policy = run.policy(library)
                # 1. Rollout and reward: a group of G per query, scored.
                groups = roll_out(policy, step.queries, self.metric, workers, run.sampling(step))
                # 2. Group advantage: each group is summarised and compared as soon as it is whole.
                contrasts = workers.results(contrast(groups, carried.contrasts, briefing, run.reflection, workers))
                advantages, briefing = carried.with_advantages_of(contrasts), run.weigh(step, contrasts, briefing)
                # 3. Optimisation: the one barrier, everything in batch order.
                update = workers.results([workers.submit(decide, advantages, briefing, run.reflection, workers)])[0]
                update = reviewed(self.review, update, advantages, briefing, memory)
                update = gated(self.gate, update, hearing_of(run, update, advantages, briefing, workers))
                applied = library.apply(
                    update.operations,
                    step=step.number,
                    sources=update.sources,
                    limits=run.settings.limits,
                    edited=update.edited,
                )
                library = run.end(step, Outcome(contrasts, advantages, update, applied), workers)
                carried = Carried.after(contrasts, update)
            gain = judge_gain(run, workers)
        return run.program(carried, gain)

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

        The pilot is the run's own first step on a few of its examples: rollouts, summaries, extractions, an update.
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
            Calls, tokens, cost and time of the whole run, with ranges; `forecast.extrapolate` says how.

        Raises:
            SettingsError, DataError, ProgramError: As `compile`; no call was made.
            BudgetError, TooManyErrors: The pilot could not be made, or lost more than `max_errors`.
            LMError: A key, billing, configuration or model error of the provider.
        """
        from tfgrpo_dspy.forecast.pilot import forecast

        return forecast(self._setup(), self.settings, student, trainset, valset, pilot, price_per_million)

    def _setup(self) -> Setup:
        return Setup(
            metric=self.metric,
            reflection_lm=self.reflection_lm,
            gate=self.gate,
            review=self.review,
            executor=self.executor,
            observers=listeners(self.tracking, self.observers, self.display_progress),
            log_dir=self.log_dir,
            restart=self.restart,
            spent=self.spent,
        )


def _check_names(conditioned: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(conditioned, str):
        raise SettingsError(f"conditioned must be names of predictors, write [{conditioned!r}] for that one")
    return None if conditioned is None else tuple(conditioned)


def _check_review(review: Review | None) -> Review | None:
    if review is not None and not callable(review):
        raise SettingsError(f"review must be a function of library and proposals, or None, got {review!r}")
    return review


def _check_tracking(tracking: bool | str | Observer) -> bool | str | Observer:
    if not (isinstance(tracking, bool | str) or callable(tracking)):
        raise SettingsError(f"tracking must be True, False, an experiment's name or an observer, got {tracking!r}")
    return tracking


def _check_observers(observers: Sequence[Observer]) -> tuple[Observer, ...]:
    if callable(observers) or not all(callable(observer) for observer in observers):
        raise SettingsError(f"observers must be a sequence of functions that take one event, got {observers!r}")
    return tuple(observers)
