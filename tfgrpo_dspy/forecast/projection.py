"""The model of a run behind `forecast.extrapolate`: one run, or thousands of drawn ones at once, as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfgrpo_dspy.forecast.plan import Amount, GroupRecord, Latency, PilotRecord, Plan

Floats = NDArray[np.float64]
Three = tuple[Floats, Floats, Floats]
"""Calls, prompt tokens, completion tokens; one value per drawn run."""

_DRAWS = 4_000
_FADING = 0.4, 0.7, 1.1
"""Factor on the share of informative groups once the library has seen every example."""
_LENGTH = 0.85, 1.0, 1.2
"""Factor on what a policy writes once it reads a library."""
_REPETITION = 0.3, 0.6, 0.9
"""Exponent with which a library grows in the number of advantages."""
_UPDATE = 0.5, 1.0, 2.0
"""Factor on what an update reads per advantage, and writes per entry."""
_HANDLING = 0.001
"""Seconds of this process per call, besides the endpoint's (measured; one process does it for all threads)."""
_GUESS = 0.5
"""Standard deviation, relative to the mean, of what was seen once or guessed."""
_FEWEST = 2
"""Degrees of freedom of Student's t at least; with one, its tail says nothing."""
_ENTRY = 45.0
"""Tokens of an experience, for a pilot that learned none (ours)."""
_MOST_READ = 60_000.0
"""Tokens of advantages that an update reads at most."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What is not known of a run, one value per drawn run; the central one is a single value of each."""

    rng: np.random.Generator | None
    """None for the central run."""
    size: int
    fading: Floats
    length: Floats
    repetition: Floats
    update: Floats
    waiting: Floats
    """Where between perfect packing (0) and none (1) the threads are used."""
    staying: Floats
    """Where between answers that are as new in each epoch (0) and the same distribution in all of them (1)."""

    def around(self, values: Sequence[float], units: float) -> Floats:
        """Draws of the run's mean of something that the pilot saw these values of."""
        seen = np.asarray(values, dtype=float)
        mean, count = float(seen.mean()), len(seen)
        if self.rng is None or mean == 0:
            return np.full(self.size, mean)
        spread = float(seen.std(ddof=1)) if count > 1 else _GUESS * abs(mean)
        error = spread * np.sqrt(1 / count + 1 / max(units, 1.0))
        drawn = mean + error * self.rng.standard_t(max(count - 1, _FEWEST), self.size)
        clipped: Floats = np.clip(drawn, mean / 4, mean * 4)
        return clipped

    def share(self, hits: int, tries: int) -> Floats:
        """Draws of a probability."""
        if self.rng is None:
            return np.full(self.size, (hits + 0.5) / (tries + 1))
        return self.rng.beta(hits + 0.5, tries - hits + 0.5, self.size)

    def rate(self, seen: int) -> Floats:
        """Draws of the mean of a count of which so many were seen once."""
        return np.full(self.size, seen + 0.5) if self.rng is None else self.rng.gamma(seen + 0.5, 1.0, self.size)

    def hits(self, tries: int, share: Floats) -> Floats:
        """Draws of how many of so many tries hit."""
        return tries * share if self.rng is None else self.rng.binomial(tries, share).astype(float)


CENTRAL = Chance(
    None,
    1,
    fading=np.array([_FADING[1]]),
    length=np.array([_LENGTH[1]]),
    repetition=np.array([_REPETITION[1]]),
    update=np.array([_UPDATE[1]]),
    waiting=np.array([0.5]),
    staying=np.array([0.5]),
)


def drawn(plan: Plan) -> Chance:
    """Thousands of possible runs; the same ones for the same plan."""
    rng = np.random.default_rng(plan.rollouts)
    fading, length, repetition, update = (
        rng.triangular(*bounds, size=_DRAWS) for bounds in (_FADING, _LENGTH, _REPETITION, _UPDATE)
    )
    return Chance(
        rng,
        _DRAWS,
        fading=fading,
        length=length,
        repetition=repetition,
        update=update,
        waiting=rng.uniform(0, 1, _DRAWS),
        staying=rng.uniform(0, 1, _DRAWS),
    )


@dataclass(slots=True)
class Projection:
    """A run, or many, as far as it was followed."""

    amounts: dict[str, Three]
    seconds: Floats

    def add(self, stage: str, units: Floats | float, per_unit: Three) -> None:
        """So many more units of a stage."""
        zero = np.zeros_like(self.seconds)
        before = self.amounts.get(stage, (zero, zero, zero))
        calls, prompt, completion = (b + units * p for b, p in zip(before, per_unit, strict=True))
        self.amounts[stage] = calls, prompt, completion

    def sum(self, figure: int) -> Floats:
        """One of the three figures over all stages."""
        total: Floats = np.sum([amount[figure] for amount in self.amounts.values()], axis=0)
        return total


@dataclass(frozen=True, slots=True)
class _Units:
    """What one rollout, one rollout's summary, one extraction, one update and one validation rollout take."""

    rollout: Three
    readers: Floats
    summary: Three
    extraction: Three
    validation: Three
    update: Amount
    advantages: float
    """Of the pilot, which its update saw."""
    learned: Floats
    """Tokens that the library grows by with as many advantages."""
    pace: Floats
    """Time of a rollout against the pilot's: that of its output."""
    newness: Floats
    """Exponent with which distinct summaries grow in the number of rollouts; 1 when none repeats."""
    size: float
    """Rollouts per group."""
    informative_size: float
    """Rollouts per informative group."""

    @classmethod
    def of(cls, pilot: PilotRecord, plan: Plan, chance: Chance) -> _Units:
        """As the pilot says."""
        groups = float(sum(plan.steps))
        telling = [g for g in pilot.groups if g.is_informative]
        size = _size(telling or pilot.groups, plan)
        many = groups * max(len(telling), 1) / len(pilot.groups)
        rollouts = [_per(g.rollouts, g.size) for g in pilot.groups]
        mean = _mean(rollouts)
        summaries = [_per(g.summaries, g.size) for g in telling] or [
            Amount(1, mean.prompt_tokens + mean.completion_tokens + 300, 200)
        ]
        extractions = [g.extraction for g in telling] or [Amount(1, 900 + 200 * size, 250)]
        update = pilot.update if pilot.update.calls else Amount(1, 1000, 60)
        entry = pilot.learned_tokens / pilot.learned_entries if pilot.learned_entries else _ENTRY
        per_group = np.clip(sum(a.calls for a in summaries) / len(summaries) * size, 1.0, size)
        rollout = _three(rollouts, chance, groups)
        return cls(
            rollout,
            chance.around([g.readers / g.size for g in pilot.groups], groups),
            _three(summaries, chance, many),
            _three(extractions, chance, many),
            _three(pilot.validation or rollouts, chance, float(plan.validation)),
            update,
            float(max(len(telling), 1)),
            entry * chance.rate(pilot.learned_entries),
            rollout[2] / mean.completion_tokens if mean.completion_tokens else np.ones(chance.size),
            np.full(chance.size, np.log(per_group) / np.log(size) if size > 1 else 1.0),
            _size(pilot.groups, plan),
            size,
        )


def _size(groups: Sequence[GroupRecord], plan: Plan) -> float:
    return sum(g.size for g in groups) / len(groups) if plan.is_adaptive else plan.group_size


def project(pilot: PilotRecord, plan: Plan, chance: Chance) -> Projection:
    """Follow the run, or all drawn ones, step by step."""
    units = _Units.of(pilot, plan, chance)
    share = chance.share(pilot.informative, len(pilot.groups))
    zero = np.zeros(chance.size)
    run = Projection({}, zero)
    library, told, seen = zero, zero, 0
    _validate(run, plan, units, library)
    for examples in plan.steps:
        epochs = seen * plan.epochs / sum(plan.steps)
        informative = chance.hits(examples, np.clip(share * chance.fading ** min(1.0, epochs), 0, 1))
        length = chance.length ** min(1.0, epochs)
        run.add("rollouts", examples * units.size, _reading(units.rollout, library * units.readers, length))
        run.add("summaries", informative * units.informative_size * _new(units, chance, 1 + int(epochs)), units.summary)
        run.add("extractions", informative, _reading(units.extraction, library))
        _gate(run, plan, units, chance, _Given(informative, library, library), pilot.latency)
        gain = _times(units, told + informative, chance) - _times(units, told, chance)
        run.add("updates", 1.0, _update(pilot, units, chance, _Given(informative, gain, library)))
        run.seconds = run.seconds + _step_seconds(pilot, plan, units, chance, examples, informative)
        told, seen = told + informative, seen + examples
        library = units.learned * _times(units, told, chance)
        library = library if plan.library_room is None else np.minimum(library, plan.library_room)
        _validate(run, plan, units, library)
    if plan.gain:
        run.add("gate", plan.gain, _reading(units.validation, library * units.readers))
    if plan.validation:
        run.seconds = run.seconds + (len(plan.steps) + 1) * _seconds_of(pilot, plan, units, chance)
    run.seconds = run.seconds + (_HANDLING * run.sum(0) if pilot.latency is not None else 0)
    return run


def _validate(run: Projection, plan: Plan, units: _Units, library: Floats) -> None:
    if plan.validation:
        run.add("validation", plan.validation, _reading(units.validation, library * units.readers))


def _gate(run: Projection, plan: Plan, units: _Units, chance: Chance, given: _Given, latency: Latency | None) -> None:
    """Trials of the library on held-out problems, and what judges read."""
    some = np.minimum(given.informative, 1.0)
    if plan.gate[1]:
        least, most = plan.gate
        trials = some * (least + chance.waiting * (most - least))
        run.add("gate", trials, _reading(units.validation, given.library * units.readers))
        if latency is not None:
            run.seconds = run.seconds + units.pace * trials * latency.rollout / plan.threads
    if plan.judged:
        calls, prompt, completion = _reading(units.extraction, given.library)
        run.add("gate", plan.judged * given.informative, (calls, prompt / 3, completion / 3))


def _new(units: _Units, chance: Chance, epoch: int) -> Floats:
    """Share of an epoch's summaries, those that repeat within their group left out, that no earlier epoch asked for."""
    if_same = epoch**units.newness - (epoch - 1) ** units.newness
    return 1 - chance.staying * (1 - if_same)


class _Given(NamedTuple):
    """What an update is given."""

    informative: Floats
    """Groups."""
    gain: Floats
    """By how many times the pilot's learning the library grows."""
    library: Floats
    """Tokens by which it had grown."""


def _update(pilot: PilotRecord, units: _Units, chance: Chance, given: _Given) -> Three:
    seen, some = units.update, np.minimum(given.informative, 1.0)
    shown = seen.prompt_tokens * pilot.update_share * chance.update * given.informative / units.advantages
    fixed = some * (seen.prompt_tokens * (1 - pilot.update_share) + given.library)
    return some * seen.calls, fixed + np.minimum(shown, _MOST_READ), seen.completion_tokens * chance.update * given.gain


def _times(units: _Units, told: Floats, chance: Chance) -> Floats:
    """How many times what the pilot learned so many advantages teach."""
    times = told / units.advantages
    return np.where(times > 1, np.maximum(times, 1.0) ** chance.repetition, times)


def _step_seconds(
    pilot: PilotRecord, plan: Plan, units: _Units, chance: Chance, examples: int, informative: Floats
) -> Floats:
    latency = pilot.latency
    if latency is None:
        return np.zeros(chance.size)
    some = np.minimum(informative, 1.0)
    reflecting = informative * (units.informative_size * latency.summary + latency.extraction)
    chain = units.pace * latency.slowest_rollout + some * (latency.summary + latency.extraction)
    busy = (units.pace * examples * units.size * latency.rollout + reflecting) / plan.threads
    return _between(busy, chain, chance) + some * latency.update


def _seconds_of(pilot: PilotRecord, plan: Plan, units: _Units, chance: Chance) -> Floats:
    """Of one validation."""
    if pilot.latency is None:
        return np.zeros(chance.size)
    busy = units.pace * plan.validation * pilot.latency.rollout / plan.threads
    return _between(busy, units.pace * pilot.latency.slowest_rollout, chance)


def _between(busy: Floats, chain: Floats, chance: Chance) -> Floats:
    least = np.maximum(busy, chain)
    return least + chance.waiting * (busy + chain - least)


def _reading(amount: Three, more: Floats, length: Floats | float = 1.0) -> Three:
    return amount[0], amount[1] + more, amount[2] * length


def _three(amounts: Sequence[Amount], chance: Chance, units: float) -> Three:
    calls = chance.around([a.calls for a in amounts], units)
    prompt = chance.around([a.prompt_tokens for a in amounts], units)
    return calls, prompt, chance.around([a.completion_tokens for a in amounts], units)


def _per(amount: Amount, size: int) -> Amount:
    return Amount(amount.calls / size, amount.prompt_tokens / size, amount.completion_tokens / size, None)


def _mean(amounts: Sequence[Amount]) -> Amount:
    return _per(sum(amounts, Amount()), len(amounts))
