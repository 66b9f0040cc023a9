"""Did it help? The learned library against the one the run began with, on fresh rollouts; and when to stop trying."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import All, Gate, Tried
from tfgrpo_dspy.records.evaluation import Gain
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.statistics.estimates import Difference, paired_difference
from tfgrpo_dspy.statistics.lost import difference_if_lost, verdict_on

if TYPE_CHECKING:
    from tfgrpo_dspy.gates.holdout import Holdout
    from tfgrpo_dspy.run.run import Run

logger = logging.getLogger(__name__)

_FEWEST = 4
"""Problems that can be split into some that choose and some that judge."""
_LITTLE = 0.5
"""Share of the updates that change nothing below which a gate that lets no more of them pass is warned of."""


def check_gain(required: bool, gate: Gate | None, valset: Sequence[dspy.Example] | None) -> None:
    """Raises `SettingsError` if a gain is required and there is nothing to measure it on that chose nothing."""
    if not required:
        return
    if valset is None and not _holdouts(gate):
        raise SettingsError(
            "`require_gain` needs problems to measure it on: give a `valset`, or a `gate` that holds some out"
        )
    given = valset if valset is not None else _holdouts(gate)[0].valset
    if len(given) < _FEWEST:
        raise SettingsError(
            f"`require_gain` measures on problems that chose nothing, half of those given, and there are {len(given)}: "
            f"give {_FEWEST} or more"
        )


def judge_gain(run: Run, workers: Workers) -> Gain | None:
    """Measure the gain on problems that chose nothing: the judging part of the valset, else of the gate's problems."""
    if not run.settings.require_gain:
        return None

    examples, k = run.judging, _rollouts_each(run.settings, run.gate)
    initial, learned = run.settings.library, run.best_library
    gain = Gain(None, "the run learned nothing that it kept")
    if initial.experiences != learned.experiences:
        purpose, last = f"gain seed {run.settings.seed}", len(run.records)
        tried = run.evaluator(workers).try_out((initial, learned), examples, purpose=purpose, step=last, k=k)
        usage = tried[0].usage + tried[1].usage
        gain = Gain(*_measured(*tried), usage)
    if gain.withheld:
        logger.warning("the student is returned as it was: %s", gain.withheld)
    return gain


def _measured(initial: Tried, learned: Tried) -> tuple[Difference | None, str]:
    """The gain, and why it is not enough; better only if that holds whatever the lost rollouts would have been."""
    answered = any(a and b for a, b in zip(initial.rewards, learned.rewards, strict=True))
    if not (initial.is_whole and learned.is_whole and answered):
        return None, "the gain could not be measured: the budget or lost rollouts left too little"
    d = paired_difference(initial.rewards, learned.rewards)
    lost = difference_if_lost(initial.side, learned.side)
    verdict = verdict_on(d, lost)
    if verdict == "better":
        return d, ""
    shown = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] on {d.n} problems"
    with_lost = f", with the lost rollouts scored against it {lost.against.value:+.3f}" if lost is not None else ""
    return d, f"a gain was required, and what was learned is {verdict}: {shown}{with_lost}"


def powers(gate: Gate | None) -> tuple[str, ...]:
    """What each measuring gate lets pass, to be known before the run; said as a warning where that is little."""
    for one in _holdouts(gate):
        level = logging.WARNING if one.power(0.0) < _LITTLE else logging.INFO
        logger.log(level, "%s; more problems, a higher k or a larger margin let more pass", one.power_text())
    return tuple(one.power_text() for one in _holdouts(gate))


class Held(NamedTuple):
    """What is held out of training: problems that choose, and others that judge what was chosen."""

    valset: tuple[dspy.Example, ...] | None
    """Selects among the libraries."""
    gate: Gate | None
    """Rules on updates, on its own problems."""
    judging: tuple[dspy.Example, ...] = ()
    """None of the above; empty where no gain is required."""


def held_out(settings: Settings, gate: Gate | None, valset: Sequence[dspy.Example] | None) -> Held:
    """What is held out: where a gain is required, half of the valset, else of the gate's problems, is put aside for it.

    A gain on problems that chose is as lucky as the choice.
    """
    val = None if valset is None else tuple(valset)
    if not settings.require_gain:
        return Held(val, gate)
    if val is not None:
        selecting, judging = _split(val, settings.seed)
        return Held(selecting, gate, judging)
    measuring = _holdouts(gate)[0]
    selecting, judging = _split(measuring.valset, settings.seed)
    rules = tuple(
        replace(one, valset=selecting) if one is measuring else one for one in _gates(gate) if one is not None
    )
    return Held(None, All(rules) if isinstance(gate, All) else rules[0], judging)


def _split(examples: Sequence[dspy.Example], seed: int) -> tuple[tuple[dspy.Example, ...], tuple[dspy.Example, ...]]:
    drawn = frozenset(random.Random(f"{seed}/judging").sample(range(len(examples)), len(examples) // 2))
    selecting = tuple(example for i, example in enumerate(examples) if i not in drawn)
    return selecting, tuple(examples[i] for i in sorted(drawn))


def _holdouts(gate: Gate | None) -> list[Holdout]:
    if gate is None:
        return []
    from tfgrpo_dspy.gates.holdout import Holdout

    return [one for one in _gates(gate) if isinstance(one, Holdout)]


def _gates(gate: Gate | None) -> tuple[Gate | None, ...]:
    return gate.gates if isinstance(gate, All) else (gate,)


def gate_rollouts(gate: Gate | None) -> tuple[int, int]:
    """Rollouts of a step's trials at least, when the first look is clear, and at most."""
    least = [2 * -(-len(one.valset) // one.looks) * one.k for one in _holdouts(gate)]
    return sum(least), sum(one.most_rollouts for one in _holdouts(gate))


def gain_rollouts(settings: Settings, gate: Gate | None, judging: Sequence[dspy.Example]) -> int:
    """Rollouts of the final comparison; 0 if none is required."""
    return 2 * len(judging) * _rollouts_each(settings, gate)


def _rollouts_each(settings: Settings, gate: Gate | None) -> int:
    """Rollouts per problem and library of the final comparison."""
    return max([settings.validation_rollouts, *(holdout.k for holdout in _holdouts(gate))])
