"""From a pilot to a run: each stage scaled, with a range for every figure. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.forecast.forecast import LEVEL, STAGES, Amount, Forecast, Pilot, PilotGroup, Plan, Range, StageForecast
from tfgrpo_dspy.lm.budget import Price

_ONE_GROUP = (0.5, 2.0)
"""Times its mean that one group alone leaves open, as its spread says nothing (ours)."""
_ENTRY = 40.0
"""Tokens of an entry, where the pilot learned none (ours)."""
_MOST_READ = 60_000.0
"""Tokens of advantages that an update is shown at most, about half of a usual window (ours)."""


class _Guess(NamedTuple):
    """What the pilot leaves open; the values are times what it says, unless said otherwise."""

    calls: float
    """Of a group's rollouts."""
    tokens: float
    """Of each of these calls."""
    reflection: float
    """Tokens of each call of summaries and extractions."""
    share: float
    """Of informative groups, in [0, 1], while the library is as it was."""
    fading: float = 0.7
    """By how much that share is lower once a library is read (ours, of the embedded LM's runs)."""
    length: float = 1.0
    """Of what a policy writes once it reads a library (ours)."""
    repetition: float = 0.6
    """Exponent with which the library grows in the number of advantages, as insights repeat (Heaps' law; ours)."""
    repeated: float = 0.8
    """Summaries of later epochs that are asked for anew, where the pilot's groups had attempts that were the same."""
    update: float = 0.5
    """Share of an update's prompt that grows with the advantages shown (ours)."""
    luck: float = 0.5
    """Where between the least and the most rollouts that a gate makes, and those of what is in doubt at the end, and
    between perfect packing and none the threads."""


_RANGES = {
    "fading": (0.4, 1.1),
    "length": (0.85, 1.2),
    "repetition": (0.3, 0.9),
    "repeated": (0.5, 1.0),
    "update": (0.2, 0.8),
    "luck": (0.0, 1.0),
}


def scale(pilot: Pilot, plan: Plan) -> Forecast:
    """Forecast a run from a pilot of it.

    The expected figures follow a run in which each group is as the pilot's were on average. The range of a figure
    comes from varying, one at a time, what the pilot leaves open, and adding up the squares of what each changes:

    - *Calls of a rollout, tokens of a call.* By Student's t at 90%, from the spread between the pilot's groups, for
      the run's own groups differ as well; 0.5 to 2 times where there was one group.
    - *Share of informative groups*, which alone are reflected on. Jeffreys' 90% interval of the pilot's; from the
      second epoch on 0.4 to 1.1 times that, expected 0.7 (ours).
    - *Library.* Prompts grow by what it has grown: what the pilot's m advantages added becomes (M/m)^b times as much
      with M of them, b from 0.3 to 0.9, expected 0.6 (ours). Its bounds hold.
    - *Update.* What the pilot's took, of which 0.2 to 0.8 grows with the advantages, expected 0.5 (ours).
    - *Gate.* From its least (one trial, clear at its first look) to its most (every trial of every part to the end).
    - *Adaptive groups* are as large as the pilot's.
    - *Time.* From the busy time of all calls divided by the threads, or the longest chain if that is more, to the sum
      of both, at the pilot's latency. An endpoint that slows down under load is not foreseen.

    Args:
        pilot: At least one group. If none was informative, reflection is guessed from the rollouts, and a note says so.
        plan: The whole run.

    Raises:
        DataError: The pilot has no group, or the plan no step.
    """
    if not pilot.groups or not plan.steps:
        raise DataError("a forecast needs a pilot of at least one group, and a plan of at least one step")
    middle, ranges = _open(pilot, plan)
    expected = _figures(pilot, plan, middle)
    below, above = dict.fromkeys(expected, 0.0), dict.fromkeys(expected, 0.0)
    for name, ends in ranges.items():
        changed = [_figures(pilot, plan, middle._replace(**{name: end})) for end in ends]
        for key, value in expected.items():
            below[key] += min(0.0, *(figures[key] - value for figures in changed)) ** 2
            above[key] += max(0.0, *(figures[key] - value for figures in changed)) ** 2
    made = {
        key: Range(max(0.0, value - sqrt(below[key])), value, value + sqrt(above[key]))
        for key, value in expected.items()
    }
    stages = {name: _stage(made, name, plan) for name in ("pilot", *STAGES) if expected[name, "calls"]}
    timed = any(group.seconds for group in pilot.groups)
    return Forecast(
        stages,
        _stage(made, "total", plan),
        made["run", "seconds"] if timed else None,
        plan,
        pilot,
        notes=tuple(_notes(pilot, plan)),
    )


def _open(pilot: Pilot, plan: Plan) -> tuple[_Guess, Mapping[str, tuple[float, float]]]:
    """What is expected of all that the pilot leaves open, and between what it may be."""
    from scipy.special import betaincinv  # importing the package must stay cheap

    telling = [group for group in pilot.groups if group.is_informative]
    missed, examples = len(pilot.groups) - len(telling), sum(plan.steps)
    ends = [float(betaincinv(len(telling) + 0.5, missed + 0.5, q)) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]
    reflected = [(group.summaries + group.extraction).tokens for group in telling]
    measured = {
        "calls": _spread([group.rollouts.calls for group in pilot.groups], examples),
        "tokens": _spread([group.rollouts.tokens / max(group.rollouts.calls, 1) for group in pilot.groups], examples),
        "reflection": _spread(reflected, examples * len(telling) / len(pilot.groups)),
        "share": (ends[0], ends[1]),
    }
    share = (len(telling) + 0.5) / (len(pilot.groups) + 1)
    return _Guess(1.0, 1.0, 1.0, share), {**measured, **_RANGES}


def _spread(values: Sequence[float], units: float) -> tuple[float, float]:
    """Between how many times what was seen on average the mean of so many units may lie."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2 or not (mean := fmean(values)):  # noqa: PLR2004 - of one there is no spread
        return _ONE_GROUP if n else (1.0, 1.0)
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * stdev(values) * sqrt(1 / n + 1 / max(units, 1.0)) / mean
    return max(1 - reach, 0.25), min(1 + reach, 4.0)


def _figures(pilot: Pilot, plan: Plan, guess: _Guess) -> dict[tuple[str, str], float]:
    """Every figure of the run if the guess is right, by stage and name."""
    amounts, seconds = _project(pilot, plan, guess)
    unused = _unused(pilot, plan)
    costs = {stage: _cost(amount, plan.prices.get(stage)) for stage, amount in amounts.items()}
    costs["pilot"] = sum(_cost(amount, plan.prices.get(stage)) for stage, amount in unused.items())
    amounts["pilot"] = sum(unused.values(), Amount())
    figures: dict[tuple[str, str], float] = {("run", "seconds"): seconds}
    for stage, amount in (*amounts.items(), ("total", sum(amounts.values(), Amount()))):
        figures[stage, "calls"] = amount.calls
        figures[stage, "prompt_tokens"] = amount.prompt_tokens
        figures[stage, "completion_tokens"] = amount.completion_tokens
    figures |= {(stage, "cost_usd"): cost for stage, cost in costs.items()}
    figures["total", "cost_usd"] = sum(costs.values())
    return figures


def _cost(amount: Amount, price: Price | None) -> float:
    """In US dollars; 0 where the price is unknown, which `_stage` shows as unknown."""
    read, written = (price or (0.0, 0.0))[:2]
    return (amount.prompt_tokens * read + amount.completion_tokens * written) / 1e6


def _stage(made: Mapping[tuple[str, str], Range], name: str, plan: Plan) -> StageForecast:
    calls, prompt, completion, cost = (
        made[name, f] for f in ("calls", "prompt_tokens", "completion_tokens", "cost_usd")
    )
    needed = [name] if name in STAGES else [stage for stage in STAGES if made[stage, "calls"].high]
    known = all(plan.prices.get(stage) is not None for stage in needed)
    return StageForecast(calls, prompt, completion, cost if known else None)


def _project(pilot: Pilot, plan: Plan, guess: _Guess) -> tuple[dict[str, Amount], float]:
    groups, telling = pilot.groups, [group for group in pilot.groups if group.is_informative]
    group = _mean([each.rollouts for each in groups]).times(guess.calls, guess.tokens)
    size = fmean(each.size for each in groups)
    summaries, extraction = _reflection(pilot, telling, guess)
    validated = _mean(pilot.validation).times(guess.calls, guess.tokens) if pilot.validation else group
    total = {stage: Amount() for stage in STAGES}
    taught = library = seconds = 0.0
    total["validation"] += _reading(validated, 0, plan).times(plan.validation)
    for number, examples in enumerate(plan.steps):
        progress = min(1.0, number * plan.epochs / len(plan.steps))
        informative = examples * min(1.0, guess.share * guess.fading**progress)
        some = min(informative, 1.0)
        anew = guess.repeated if progress >= 1 and summaries.calls < size else 1.0
        rollouts = _reading(group, library, plan, guess.length**progress)
        total["rollouts"] += rollouts.times(examples)
        total["summaries"] += summaries.times(informative * anew)
        total["extractions"] += (extraction + Amount(0, library)).times(informative)
        trials = some * (plan.gate[0] + guess.luck * (plan.gate[1] - plan.gate[0]))
        total["gate"] += _reading(group, library, plan).times(trials / size)
        total["update"] += _update(pilot, plan, guess, taught, informative, library)
        seconds += _seconds(pilot, plan, guess, examples, some, trials)
        taught += informative
        library = _growth(pilot, guess, taught)
        library = library if plan.room is None else min(library, plan.room)
        total["validation"] += _reading(validated, library, plan).times(plan.validation)
    settled = guess.luck * plan.settled
    total["rollouts"] += _reading(group, library, plan).times(settled / size)
    seconds += _seconds(pilot, plan, guess, 0, 0.0, settled) if settled else 0.0
    total["gain"] += _reading(group, library, plan).times(plan.gain / size)
    return total, seconds


def _mean(amounts: Sequence[Amount]) -> Amount:
    return sum(amounts, Amount()).times(1 / len(amounts))


def _reading(amount: Amount, library: float, plan: Plan, length: float = 1.0) -> Amount:
    """Rollouts whose prompts hold so many tokens of the library more."""
    more = amount.calls * plan.readers * library
    return Amount(amount.calls, amount.prompt_tokens + more, amount.completion_tokens * length)


def _reflection(pilot: Pilot, telling: Sequence[PilotGroup], guess: _Guess) -> tuple[Amount, Amount]:
    """Of an informative group: its summaries and its extraction, guessed from the rollouts if there was none."""
    if telling:
        found = _mean([group.summaries for group in telling]), _mean([group.extraction for group in telling])
    else:
        rollouts, size = _mean([g.rollouts for g in pilot.groups]), fmean(g.size for g in pilot.groups)
        found = Amount(size, rollouts.tokens + 300 * size, 200 * size), Amount(1, 900 + 200 * size, 250)
    return found[0].times(1, guess.reflection), found[1].times(1, guess.reflection)


def _update(pilot: Pilot, plan: Plan, guess: _Guess, taught: float, informative: float, library: float) -> Amount:
    """Of one step: the first call whatever it is shown, further ones and part of the text by how much that is.

    A library that outgrows its bound is condensed, by one call that reads and writes it.
    """
    seen = pilot.update if pilot.update.calls else Amount(1, 1000, 60)
    ratio = informative / _advantages(pilot)
    some = min(informative, 1.0)
    shown = min(seen.prompt_tokens * guess.update * ratio, _MOST_READ)
    kept = some * (seen.prompt_tokens * (1 - guess.update) + library)
    gained = _times(pilot, guess, taught + informative) - _times(pilot, guess, taught)
    update = Amount(some + max(seen.calls - 1, 0) * ratio, shown + kept, seen.completion_tokens * gained)
    grown = _growth(pilot, guess, taught + informative)
    condensed = plan.condenses and plan.room is not None and grown > plan.room
    return update + Amount(1, library + 300, library) if condensed else update


def _advantages(pilot: Pilot) -> int:
    return max(1, sum(group.is_informative for group in pilot.groups))


def _times(pilot: Pilot, guess: _Guess, taught: float) -> float:
    """How many times what the pilot learned so many advantages teach."""
    times = taught / _advantages(pilot)
    return times**guess.repetition if times > 1 else times


def _growth(pilot: Pilot, guess: _Guess, taught: float) -> float:
    entry = pilot.learned_tokens / pilot.learned_entries if pilot.learned_entries else _ENTRY
    return entry * (pilot.learned_entries + 0.5) * _times(pilot, guess, taught)


def _seconds(pilot: Pilot, plan: Plan, guess: _Guess, examples: int, some: float, trials: float) -> float:
    """Of one step and its validation; a third of what followed the pilot's last rollout is the length of a call."""
    timed = [group.seconds for group in pilot.groups if group.seconds]
    if not timed:
        return 0.0
    rollout, slowest = fmean(s for group in timed for s in group), fmean(max(group) for group in timed)
    size = fmean(group.size for group in pilot.groups)
    calls = (examples * min(1.0, guess.share)) * (size + 1)
    busy = (rollout * (examples * size + trials) + pilot.reflecting / 3 * calls * some) / plan.threads
    chain = slowest + some * pilot.reflecting
    between = max(busy, chain) + guess.luck * (busy + chain - max(busy, chain))
    return between + plan.validation * rollout / plan.threads


def _unused(pilot: Pilot, plan: Plan) -> dict[str, Amount]:
    """What the pilot took that the run cannot use: its update, as the run's is shown more; all, if a cache is off."""
    wasted = 1 - plan.reused / len(pilot.groups)
    whole = not wasted and len(pilot.groups) == plan.steps[0]
    return {
        "rollouts": sum((group.rollouts for group in pilot.groups), Amount()).times(wasted),
        "summaries": sum((group.summaries for group in pilot.groups), Amount()).times(wasted),
        "extractions": sum((group.extraction for group in pilot.groups), Amount()).times(wasted),
        "update": Amount() if whole else pilot.update,
        "validation": Amount() if plan.reused else sum(pilot.validation, Amount()),
    }


def _notes(pilot: Pilot, plan: Plan) -> Iterator[str]:
    informative = sum(group.is_informative for group in pilot.groups)
    yield f"{informative} of the pilot's {len(pilot.groups)} groups were informative: a larger pilot narrows the ranges"
    if not informative:
        yield "what reflection takes is guessed, as no group of the pilot had anything to teach"
    if len({group.size for group in pilot.groups}) > 1:
        yield "adaptive groups are taken to be as large as those of the pilot"
    if plan.gate[1]:
        yield f"the gate makes {plan.gate[0]:,} to {plan.gate[1]:,} rollouts a step, as its looks turn out"
    if plan.settled:
        yield f"what is in doubt after the last step is rolled out again, at most {plan.settled:,} rollouts"
    if not plan.reused:
        yield "DSPy's cache does not keep the pilot's rollouts, so the run pays for them again"
    if not any(group.seconds for group in pilot.groups):
        yield "DSPy's cache answered the pilot, so nothing is known of the time, and its tokens may be estimates"
