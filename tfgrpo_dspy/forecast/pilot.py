"""A pilot: a few groups of a run's first step, through the run's own code, and what they took."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import dspy

from tfgrpo_dspy.errors import BudgetError, SettingsError, TooManyErrors
from tfgrpo_dspy.forecast.calls import Made, Tally
from tfgrpo_dspy.forecast.forecast import Forecast, extrapolate
from tfgrpo_dspy.forecast.plan import STAGES, Amount, GroupRecord, Latency, PilotRecord, Plan
from tfgrpo_dspy.lm.budget import Price, Spent
from tfgrpo_dspy.lm.ledger import spent_in
from tfgrpo_dspy.lm.metered import metering
from tfgrpo_dspy.lm.prices import price_of
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.checks import lms_of
from tfgrpo_dspy.program.instructions import check_conditioned
from tfgrpo_dspy.records.advantages import Contrast
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.rollouts.sampling import Query
from tfgrpo_dspy.run.batches import Carried, Step
from tfgrpo_dspy.run.gain import gain_rollouts, gate_rollouts, judges_in
from tfgrpo_dspy.run.preparation import prepare
from tfgrpo_dspy.run.run import Run
from tfgrpo_dspy.run.setup import Setup
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.advantage import contrast
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.optimisation import propose
from tfgrpo_dspy.steps.rollout import roll_out

Prices = Price | Mapping[str, Price]


@dataclass(frozen=True, slots=True)
class _Piloted:
    """What a pilot did."""

    tally: Tally
    groups: tuple[Group, ...]
    ids: Mapping[int, str]
    """Rollout id to the name of its group."""
    tasks: Mapping[str, str]
    """What reflection is told of a group's task, to the name of the group."""
    tolerance: float
    learned_tokens: int
    learned_entries: int
    threads: int


def forecast(  # noqa: PLR0913, PLR0917 - what `TrainingFreeGRPO.forecast` takes, and what it holds
    setup: Setup,
    settings: Settings,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example] | None,
    pilot: int,
    prices: Prices | None,
) -> Forecast:
    """See `TrainingFreeGRPO.forecast`."""
    if type(pilot) is not int or pilot < 1:
        raise SettingsError(f"pilot, the examples to roll out, must be a whole number >= 1, got {pilot!r}")
    taken_up = setup.log_dir if not setup.restart else None
    quiet = setup.unrecorded(Spent() if taken_up is None else spent_in(taken_up))
    run = prepare(quiet, student, trainset, valset, settings)
    steps = list(run.plan())
    known = {lm.model: _price(lm, run, prices) for lm in lms_of(run.student, run.reflection.lm)}
    began = time.perf_counter()
    piloted = _roll_pilot(run, steps[0], pilot, known)
    record = _record(piloted)
    paid = sum((call.amount for call in piloted.tally.made if call.is_paid), Amount())
    made = extrapolate(record, _plan(run, steps, known, piloted))
    simulated = any("simulated" in name.lower() for name in run.lms.values())
    notes = (*made.notes, *_told(piloted, time.perf_counter() - began))
    spent = run.meter.spending.spent - quiet.spent
    return replace(made, pilot_paid=paid, spent=spent, simulated=simulated, notes=notes)


def _roll_pilot(run: Run, first: Step, size: int, known: Mapping[str, Price | None]) -> _Piloted:
    """The three steps of the method on a few groups of the first batch, as `compile` does them."""
    step = first._replace(queries=_sample(run, first, size))
    library, settings = run.settings.library, run.settings
    policy = run.policy(library)
    readers = set(check_conditioned(policy, settings.conditioned))
    reading = policy.program if hasattr(policy, "without_library") else policy  # one that retrieves tells them later
    instructions = frozenset(p.signature.instructions for name, p in reading.named_predictors() if name in readers)
    tally = Tally(instructions, known)
    listening = dspy.context(callbacks=[*(dspy.settings.callbacks or []), tally])
    with metering(run.meter), listening, Workers(run.num_threads, run.watch) as workers:
        if run.valset is not None:
            tally.stage = "validation"
            _validate(run, size, workers)
            tally.stage = "rollouts"
        run.start(step)
        briefing = run.briefing(step, library)
        groups = roll_out(policy, step.queries, run.metric, workers, run.sampling(step))
        contrasts = workers.results(contrast(groups, (), briefing, run.reflection, workers))
        advantages = Carried().with_advantages_of(contrasts)
        proposal = propose(advantages, briefing, run.reflection, workers)
        ids = _ids(run, step)
    _check_complete(run, contrasts)
    applied = proposal.after(proposal.operations)
    return _Piloted(
        tally,
        tuple(c.group for c in contrasts),
        ids,
        _tasks(briefing, step),
        settings.tolerance,
        applied.library.tokens - library.tokens,
        max(0, len(applied.library) - len(library)),
        run.num_threads,
    )


def _sample(run: Run, first: Step, size: int) -> tuple[Query, ...]:
    """Of the first batch, in its order, so that the run draws the same rollouts; of the others only if it is small."""
    draw = random.Random(f"{run.settings.seed}/pilot")
    chosen = set(draw.sample(range(len(first.queries)), min(size, len(first.queries))))
    queries = [query for i, query in enumerate(first.queries) if i in chosen]
    mine = {query.position for query in first.queries}
    others = [Query(i, example) for i, example in enumerate(run.trainset) if i not in mine]
    return (*queries, *draw.sample(others, min(size - len(queries), len(others))))


def _validate(run: Run, size: int, workers: Workers) -> None:
    """The first examples of the valset, as the run validates its initial library."""
    whole, run.valset = run.valset, (run.valset or ())[:size]
    try:
        run.initial_library(workers)
    finally:
        run.valset = whole


def _ids(run: Run, step: Step) -> dict[int, str]:
    sampling = run.sampling(step)
    lm = lms_of(run.student)[0]
    names = {f"s{step.number}/e{query.position}" for query in step.queries}
    return {sampling.lm(lm, f"{name}/r{i}").kwargs["rollout_id"]: name for name in names for i in range(sampling.size)}


def _tasks(briefing: Briefing, step: Step) -> dict[str, str]:
    return {briefing.task(query.example): f"s{step.number}/e{query.position}" for query in step.queries}


def _check_complete(run: Run, contrasts: Sequence[Contrast]) -> None:
    if run.meter.stopped_by is not None:
        raise BudgetError(f"the budget did not allow the pilot: {run.meter.stopped_by}; make it smaller, or raise it")
    lost = [rollout for c in contrasts for rollout in c.group.lost]
    if lost and not any(c.group.scored for c in contrasts):
        raise TooManyErrors(f"all {len(lost)} rollouts of the pilot were lost, the first to: {lost[0].error}")


def _record(piloted: _Piloted) -> PilotRecord:
    made = [call for call in piloted.tally.made if not call.is_repeated]
    updates = [call for call in made if call.stage == "updates"]
    validation: dict[object, Amount] = {}
    for call in made:
        if call.stage == "validation":
            validation[call.of] = validation.get(call.of, Amount()) + call.amount
    reported = sum(call.amount.prompt_tokens for call in made)
    estimated = sum(call.estimated for call in made)
    return PilotRecord(
        tuple(_group(group, piloted, made) for group in piloted.groups),
        _sum(updates),
        min(1.0, fmean(call.update_share for call in updates)) if updates else 0.5,
        max(0.0, piloted.learned_tokens * (reported / estimated if estimated else 1.0)),
        piloted.learned_entries,
        tuple(validation.values()),
        _latency(piloted),
    )


def _group(group: Group, piloted: _Piloted, made: Iterable[Made]) -> GroupRecord:
    rolled, stray = [], []
    told: dict[str, list[Made]] = {"summaries": [], "extractions": []}
    for call in made:
        if call.stage == "rollouts" and call.of not in piloted.ids:
            stray.append(call)
        elif call.stage == "rollouts" and piloted.ids[call.of] == group.name:
            rolled.append(call)
        elif call.stage in told and piloted.tasks.get(call.of) == group.name:
            told[call.stage].append(call)
    return GroupRecord(
        len(group.rollouts),
        _sum(rolled) + _shared(_sum(stray), len(piloted.groups)),
        group.is_informative(piloted.tolerance) or bool(told["extractions"]),
        sum(call.reads_library for call in rolled),
        _sum(told["summaries"]),
        _sum(told["extractions"]),
    )


def _shared(amount: Amount, groups: int) -> Amount:
    """Calls that belong to no rollout, such as a metric's, are shared out."""
    cost = None if amount.cost_usd is None else amount.cost_usd / groups
    return Amount(amount.calls / groups, amount.prompt_tokens / groups, amount.completion_tokens / groups, cost)


def _sum(made: Iterable[Made]) -> Amount:
    return sum((call.amount for call in made), Amount())


def _latency(piloted: _Piloted) -> Latency | None:
    """Of what was not answered by the cache."""
    rollouts = [r for group in piloted.groups for r in group.scored if not r.usage.cached_calls]
    warm = rollouts[piloted.threads :]  # the first of each thread open connections and import what calls need
    rollouts = warm if len(warm) >= piloted.threads else rollouts
    groups = [[r.seconds for r in group.scored if r in rollouts] for group in piloted.groups]
    fresh = [seconds for seconds in groups if seconds]
    if not fresh:
        return None
    rollout = fmean(s for seconds in fresh for s in seconds)
    reflecting = {stage: _seconds(piloted.tally.made, stage) for stage in STAGES[1:4]}
    summary = reflecting["summaries"] if reflecting["summaries"] is not None else rollout
    extraction = reflecting["extractions"] if reflecting["extractions"] is not None else summary
    update = reflecting["updates"] if reflecting["updates"] is not None else extraction
    return Latency(rollout, fmean(map(max, fresh)), summary, extraction, update)


def _seconds(made: Iterable[Made], stage: str) -> float | None:
    seen = [call.seconds for call in made if call.stage == stage and call.is_paid]
    return fmean(seen) if seen else None


def _plan(run: Run, steps: Sequence[Step], known: Mapping[str, Price | None], piloted: _Piloted) -> Plan:
    settings = run.settings
    policy, reflection = lms_of(run.student), run.reflection.lm
    of_policy = {known[lm.model] for lm in policy}
    price = of_policy.pop() if len(of_policy) == 1 else None
    stages = dict.fromkeys(STAGES, price) | dict.fromkeys(STAGES[1:4], known[reflection.model])
    first = {query.position for query in steps[0].queries}
    cached = all(lm.cache for lm in [*policy, reflection])
    return Plan(
        steps=tuple(len(step.queries) for step in steps),
        epochs=settings.epochs,
        group_size=settings.group_size,
        is_adaptive=settings.min_group_size is not None,
        threads=run.num_threads,
        validation=len(run.valset or ()) * settings.validation_rollouts,
        gate=gate_rollouts(run.gate),
        gain=gain_rollouts(settings, run.gate, run.valset),
        judged=judges_in(run.gate),
        library_room=_room(run),
        prices=stages,
        reused=cached * sum(int(group.name.rpartition("e")[2]) in first for group in piloted.groups),
    )


def _room(run: Run) -> float | None:
    """Tokens by which the library may grow."""
    settings, library = run.settings, run.settings.library
    rooms: list[float] = []
    if settings.max_library_tokens is not None:
        rooms.append(max(0, settings.max_library_tokens - library.tokens))
    if settings.max_experiences is not None:
        rooms.append(max(0, settings.max_experiences - len(library)) * 2.0 * settings.max_words)
    return min(rooms) if rooms else None


def _price(lm: dspy.BaseLM, run: Run, prices: Prices | None) -> Price | None:
    """As given here, else with the budget, else by DSPy's price data."""
    given = prices.get(lm.model) if isinstance(prices, Mapping) else prices
    budget = run.settings.budget
    return given or (budget.price_of(lm.model) if budget is not None else None) or price_of(lm)


def _told(piloted: _Piloted, seconds: float) -> list[str]:
    groups = piloted.groups
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lost = sum(len(group.lost) for group in groups)
    told = [f"the pilot made {len(rollouts)} rollouts of {len(groups)} examples in {seconds:.1f} s"]
    told += [f"{lost} of its rollouts were lost"] if lost else []
    if share := sum((rollout.usage for rollout in rollouts), Usage()).cached_share:
        told.append(f"{share:.0%} of what they read came from the provider's prompt cache; forecast at the full price")
    return told
