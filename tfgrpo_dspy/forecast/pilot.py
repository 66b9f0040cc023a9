"""A pilot: an ordinary step of the run on a few of its examples, and what its events say it took."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import dspy

from tfgrpo_dspy.errors import BudgetError, SettingsError
from tfgrpo_dspy.forecast.forecast import OF_REFLECTION, STAGES, Amount, Forecast, Pilot, PilotGroup, Plan
from tfgrpo_dspy.forecast.scaling import scale
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.budget import Price, Spent
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.undocumented import price_of
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.checks import lms_of
from tfgrpo_dspy.program.instructions import check_conditioned
from tfgrpo_dspy.records.advantages import Extraction, SemanticAdvantage, Summary
from tfgrpo_dspy.records.events import Event, ReflectionFinished, RolloutFinished, StepFinished
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Group, example_of, group_of
from tfgrpo_dspy.records.wording import is_simulated
from tfgrpo_dspy.rollouts.sampling import Query
from tfgrpo_dspy.run.batches import Carried, Step
from tfgrpo_dspy.run.gain import gain_rollouts, gate_rollouts, powers
from tfgrpo_dspy.run.preparation import prepare
from tfgrpo_dspy.run.run import Run
from tfgrpo_dspy.run.setup import Setup
from tfgrpo_dspy.runtime.stored import spent_in
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings

Prices = Price | Mapping[str, Price]
Learn = Callable[[Run, Step, ExperienceLibrary, Carried, Workers], object]
"""The step of the loop."""


class _Heard:
    def __init__(self) -> None:
        self.summaries: defaultdict[str, Usage] = defaultdict(Usage)
        """By group; so are the extractions."""
        self.extractions: defaultdict[str, Usage] = defaultdict(Usage)
        self.record: StepRecord | None = None
        self.reflecting = 0.0
        self.finished: list[str] = []
        """Names of rollouts, the validation's included, in that order."""
        self._last_rollout = time.perf_counter()

    def __call__(self, event: Event) -> None:
        match event:
            case RolloutFinished(rollout=rollout):
                self.finished.append(rollout.name)
                self._last_rollout = time.perf_counter()
            case ReflectionFinished(made=Summary(rollout=name, usage=usage)):
                self.summaries[group_of(name)] += usage
            case ReflectionFinished(made=Extraction(advantage=SemanticAdvantage(group=name), usage=usage)):
                self.extractions[name] += usage
            case StepFinished(record=record):
                self.record, self.reflecting = record, time.perf_counter() - self._last_rollout


def forecast(  # noqa: PLR0913, PLR0917 - what `TrainingFreeGRPO.forecast` takes, and what it holds
    setup: Setup,
    settings: Settings,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example] | None,
    pilot: int,
    prices: Prices | None,
    learn: Learn,
) -> Forecast:
    """See `TrainingFreeGRPO.forecast`; `learn` is the step of its loop."""
    if type(pilot) is not int or pilot < 1:
        raise SettingsError(f"pilot, the examples to roll out, must be a whole number >= 1, got {pilot!r}")
    taken_up = setup.log_dir if not setup.restart else None
    heard = _Heard()
    quiet = replace(setup.unrecorded(Spent() if taken_up is None else spent_in(taken_up)), observers=(heard,))
    run = prepare(quiet, student, trainset, valset, settings)
    steps, whole, gate = list(run.plan()), run.valset, run.gate
    run.gate = run.review = None  # what they take is known beforehand, or is a person's time
    lms = lms_of(run.student, run.reflection.lm)
    with metering(run.meter, lms), Workers(run.num_threads, run.watch, at_once=run.dues) as workers:
        run.valset = whole[:pilot] if whole is not None else None
        library, run.valset = run.initial_library(workers), None
        learn(run, steps[0]._replace(queries=_sample(run, steps[0], pilot)), library, Carried(), workers)
    record = heard.record
    if record is None or run.meter.stopped_by is not None:
        raise BudgetError(f"the budget did not allow the pilot: {run.meter.stopped_by}; make it smaller, or raise it")
    run.valset, run.gate = whole, gate
    groups = tuple(_group(group, run, heard) for group in record.groups)
    reflected = sum((*heard.summaries.values(), *heard.extractions.values()), Usage())
    update, before = _amount(record.reflection_usage) + _amount(reflected).times(-1), run.settings.library
    judged = run.initial_validation
    took = Pilot(
        groups,
        update,
        max(0, record.library.tokens - before.tokens),
        max(0, len(record.library) - len(before)),
        tuple(_of(group) for group in judged.groups) if judged is not None else (),
        heard.reflecting,
    )
    made = scale(took, _plan(run, steps, record, prices))
    notes = (*made.notes, *powers(gate), *_remarks(record))
    spent = run.meter.spending.spent - quiet.spent
    return replace(made, spent=spent, simulated=is_simulated(run.lms.values()), notes=notes)


def _sample(run: Run, first: Step, size: int) -> tuple[Query, ...]:
    """Of the first batch, in its order, so that the run draws the same rollouts; of the others only if it is small."""
    draw = random.Random(f"{run.settings.seed}/pilot")
    chosen = set(draw.sample(range(len(first.queries)), min(size, len(first.queries))))
    queries = [query for i, query in enumerate(first.queries) if i in chosen]
    mine = {query.position for query in first.queries}
    others = [Query(i, example) for i, example in enumerate(run.trainset) if i not in mine]
    return (*queries, *draw.sample(others, min(size - len(queries), len(others))))


def _group(group: Group, run: Run, heard: _Heard) -> PilotGroup:
    summaries, extraction = _amount(heard.summaries[group.name]), _amount(heard.extractions[group.name])
    if run.reflection.lm.cache:
        asked = {(rollout.trajectory, rollout.reward, rollout.feedback) for rollout in group.scored}
        summaries = summaries.times(len(asked) / max(len(group.scored), 1))
    # The first ones of the threads open connections and import what calls need.
    cold = heard.finished[: run.num_threads] if len(heard.finished) >= 2 * run.num_threads else []
    paid = [r for r in group.rollouts if r.usage.lm_calls + r.usage.calls_elsewhere > r.usage.cached_calls]
    seconds = tuple(rollout.seconds for rollout in paid if rollout.name not in cold)
    return PilotGroup(_of(group), len(group.rollouts), bool(extraction.calls), summaries, extraction, seconds)


def _of(group: Group) -> Amount:
    return sum((_amount(rollout.usage) for rollout in group.rollouts), Amount())


def _amount(usage: Usage) -> Amount:
    """Answers from DSPy's cache are counted as if they had been paid."""
    return Amount(
        usage.lm_calls,
        usage.prompt_tokens + usage.spared_prompt_tokens,
        usage.completion_tokens + usage.spared_completion_tokens,
    )


def _plan(run: Run, steps: Sequence[Step], record: StepRecord, prices: Prices | None) -> Plan:
    settings, policy, reflection = run.settings, lms_of(run.student), run.reflection.lm
    known = {lm.model: _price(lm, run, prices) for lm in (*policy, reflection)}
    prices_of_policy = {known[lm.model] for lm in policy}
    alike = prices_of_policy.pop() if len(prices_of_policy) == 1 else None
    of_policy = alike or _seen(record.policy_usage)
    of_reflection = known[reflection.model] or _seen(record.reflection_usage)
    first = {f"e{query.position}" for query in steps[0].queries}
    cached = all(lm.cache for lm in (*policy, reflection)) and not record.policy_usage.calls_elsewhere
    readers = check_conditioned(run.student, settings.conditioned)
    return Plan(
        steps=tuple(len(step.queries) for step in steps),
        epochs=settings.learning_epochs,
        threads=run.num_threads,
        validation=len(run.valset or ()),
        gate=gate_rollouts(run.gate),
        settled=len(run.trainset) * settings.group_size * settings.settling_rounds,
        gain=gain_rollouts(settings, run.gate, run.judging),
        readers=len(readers) / max(len(run.student.predictors()), 1),
        room=_room(run),
        condenses=settings.max_library_tokens is not None,
        prices={stage: of_reflection if stage in OF_REFLECTION else of_policy for stage in STAGES},
        reused=cached * sum(example_of(group.name) in first for group in record.groups),
    )


def _seen(usage: Usage) -> Price | None:
    """US dollars for a million tokens, either way, by what the pilot's own calls came to."""
    tokens = usage.prompt_tokens + usage.completion_tokens
    return (1e6 * usage.cost_usd / tokens,) * 2 if tokens and usage.cost_usd is not None else None


def _price(lm: dspy.BaseLM, run: Run, prices: Prices | None) -> Price | None:
    """As given here, else with the budget, else by DSPy's price data."""
    given = prices.get(lm.model) if isinstance(prices, Mapping) else prices
    budget = run.settings.budget
    return given or (budget.price_of(lm.model) if budget is not None else None) or price_of(lm)


def _room(run: Run) -> float | None:
    """Tokens by which what a prompt holds of the library may grow."""
    settings, library = run.settings, run.settings.library
    rooms = [] if settings.max_library_tokens is None else [settings.max_library_tokens - library.tokens]
    entries = [settings.max_experiences] if settings.max_experiences is not None else []
    entries += [k] if isinstance(k := getattr(settings.retrieval, "k", None), int) else []
    rooms += [2 * settings.max_words * (most - len(library)) for most in entries]  # a word is at most two tokens (ours)
    return float(max(0, min(rooms))) if rooms else None


def _remarks(record: StepRecord) -> list[str]:
    rollouts = [rollout for group in record.groups for rollout in group.rollouts]
    used = sum((rollout.usage for rollout in rollouts), Usage())
    lost = sum(len(group.lost) for group in record.groups)
    said = [f"{lost} of the pilot's {len(rollouts)} rollouts were lost"] if lost else []
    if used.calls_elsewhere:
        said.append("what the program asks outside DSPy is in none of the calls, tokens and costs")
    if used.cached_share:
        read = f"{used.cached_share:.0%} of what the pilot's rollouts read came from the provider's prompt cache"
        said.append(f"{read}; the forecast is at the full price")
    return said
