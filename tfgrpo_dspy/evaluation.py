"""Evaluation with error bars: k fresh rollouts per question, and the paired comparison of two programs."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.declaration import documented
from tfgrpo_dspy.errors import BudgetError, DataError, SettingsError
from tfgrpo_dspy.library.section import find_section
from tfgrpo_dspy.lm.budget import Budget, Reason
from tfgrpo_dspy.lm.metering import find_prices, metering
from tfgrpo_dspy.lm.scope import active_meter
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.progress import rollout_bar
from tfgrpo_dspy.program.checks import check_examples, check_lms, check_room, lms_of, say_elsewhere, say_temperatures
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.records.events import Observer
from tfgrpo_dspy.rewards.reward import Metric, check_metric
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.runtime.losses import Watch, all_lost, warn_of_scores_below_failure
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings, meter_for
from tfgrpo_dspy.statistics.estimates import mean_at_k, paired_difference
from tfgrpo_dspy.steps.rollout import roll_out

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

logger = logging.getLogger(__name__)

_evaluations = itertools.count()


@documented(Settings)
def evaluate(  # noqa: PLR0913, D417 - flat keywords, as DSPy users expect; `documented` adds what is missing
    program: dspy.Module,
    devset: Sequence[dspy.Example],
    metric: Metric,
    *,
    k: int = 5,
    temperature: float | None = Settings.temperature,
    seed: int | None = None,
    failure_score: float = Settings.failure_score,
    num_threads: int | None = Settings.num_threads,
    max_errors: int | None = Settings.max_errors,
    budget: Budget | None = Settings.budget,
    max_outage: float | None = Settings.max_outage,
    hedge: float = Settings.hedge,
    call_timeout: float | None = Settings.call_timeout,
    rollout_timeout: float | None = Settings.rollout_timeout,
    display_progress: bool = True,
    store: Store | None = None,
    tracking: bool | str | Observer = False,
) -> Evaluation:
    """Score a program on k fresh rollouts per question.

    Args:
        program: Any DSPy program; it is not changed.
        devset: Examples with inputs set.
        metric: As for `TrainingFreeGRPO`.
        k: Rollouts per question, >= 1 (paper: 32 for mathematics).
        seed: Names the range of rollout ids. The same seed draws the same rollouts again (from DSPy's cache, for
            free); None takes a range that no earlier evaluation of this process has used. No range is shared with
            training.
        display_progress: Show a progress bar on a terminal, elsewhere a line a minute.
        store: Keeps what rollouts come to: the same evaluation, with a seed, goes on with it after a kill. What it is
            the store of, its identity, is the caller's to say.
        tracking: Whether MLflow records scores and questions as a run of its own: `True`, the name of an experiment, or
            an `MLflowTracking`; one of a compile adds them to the run that it made.

    The other keywords are the settings of that name; what was scored until the budget was reached is returned, and
    `stopped_by` says so.

    Returns:
        Rewards per question, Mean@k with its interval, losses by cause, usage.

    Raises:
        DataError: The devset is empty or an example has no inputs.
        ProgramError: The program is no `dspy.Module`.
        SettingsError: An argument is out of range, or no LM is configured.
        TooManyErrors: More examples went wrong than `max_errors`, or every rollout was lost.
        BudgetError: The budget did not allow a single rollout.
        RequestError: No rollout can succeed: the key, the credit, the model, an option or the address is wrong.
    """
    check_metric(metric)
    recorder = _recorder(tracking) if tracking else None
    examples = check_examples(devset, "devset")
    check_lms(program)
    say_temperatures(program, temperature)
    check_room(program, examples, "devset")
    settings = Settings(
        temperature=temperature,
        failure_score=failure_score,
        num_threads=num_threads,
        max_errors=max_errors,
        budget=budget,
        max_outage=max_outage,
        hedge=hedge,
        call_timeout=call_timeout,
        rollout_timeout=rollout_timeout,
    )
    say_elsewhere(program, () if budget is None else budget.caps)
    if type(k) is not int or k < 1:
        raise SettingsError(f"k, the rollouts per question, must be a whole number >= 1, got {k!r}")
    purpose = f"evaluation {next(_evaluations)}" if seed is None else f"evaluation seed {seed}"
    sampling = Sampling.of(settings, purpose, 0, k, "devset")
    threads = num_threads or dspy.settings.num_threads or 1
    meter = meter_for(settings, threads)
    find_prices(lms_of(program), meter)
    with (
        metering(meter, lms_of(program)),
        rollout_bar(len(examples) * k, display_progress) as show,
        Workers(threads, Watch(max_errors, show, len(examples)), store) as workers,
    ):
        made = evaluate_with(workers, program, examples, metric, sampling)
    _warn_if_none_came_through(made)
    warn_of_scores_below_failure(made.groups, failure_score)
    made = replace(made, traffic=meter.traffic)
    if recorder is not None:
        is_learned = any(find_section(p.signature.instructions) for p in program.predictors())
        if not recorder.record_heldout({"learned" if is_learned else "bare": made}):
            logger.warning("MLflow has no record of: %s", "; ".join(recorder.unrecorded))
    return made


def _recorder(tracking: bool | str | Observer) -> MLflowTracking:
    """Checked before anything is paid for."""
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

    if tracking is True or isinstance(tracking, str):
        tracking = MLflowTracking(None if tracking is True else tracking)
    if not isinstance(tracking, MLflowTracking):
        raise SettingsError(
            f"`tracking` of `evaluate` must be `True`, an experiment's name or an `MLflowTracking`, got {tracking!r}"
        )
    tracking.check()
    return tracking


def _warn_if_none_came_through(made: Evaluation) -> None:
    scored = [rollout for group in made.groups for rollout in group.scored]
    if made.policy_failures == len(scored) > 1:
        logger.warning(
            "the program failed in every rollout, which is what its score says: first %s", scored[0].policy_failure
        )


def evaluate_with(
    workers: Workers, program: dspy.Module, examples: Sequence[dspy.Example], metric: Metric, sampling: Sampling
) -> Evaluation:
    """`evaluate` in a pool that is there already."""
    started = time.perf_counter()
    queries = [Query(i, example) for i, example in enumerate(examples)]
    groups = tuple(workers.results(roll_out(program, queries, metric, workers, sampling)))
    lost = [rollout for group in groups for rollout in group.lost]
    if lost and not any(group.scored for group in groups):
        if lost[0].cause == "budget":
            raise BudgetError(f"the budget did not allow a single rollout: {lost[0].error}")
        raise all_lost(lost, "evaluation")
    usage = sum((rollout.usage for group in groups for rollout in group.rollouts), Usage())
    mean = mean_at_k([group.rewards for group in groups])
    refused = [rollout.error for rollout in lost if rollout.cause == "budget"]
    stopped_by, meter = None, active_meter()
    if refused:
        how = meter.stopped_by.how if meter is not None and meter.stopped_by is not None else "limit"
        stopped_by = Reason(f"{refused[0]}; not done: {len(refused)} rollouts", how)
    return Evaluation(groups, sampling.size, mean, usage, time.perf_counter() - started, stopped_by)


def compare(baseline: Evaluation, candidate: Evaluation) -> Comparison:
    """The paired difference of two evaluations on the same questions, candidate minus baseline.

    Raises:
        DataError: They were not made on the same questions in the same order.
    """
    questions = [[group.example for group in evaluation.groups] for evaluation in (baseline, candidate)]
    if questions[0] != questions[1]:
        raise DataError("compare needs two evaluations of the same devset, in the same order")
    return Comparison(baseline, candidate, paired_difference(baseline.rewards, candidate.rewards))
