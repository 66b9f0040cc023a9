"""Did it help? The learned library against the one the run began with, on fresh rollouts; and when to stop trying."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import All, Gate
from tfgrpo_dspy.records.events import GainJudged
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings

if TYPE_CHECKING:
    from tfgrpo_dspy.gates.holdout import Holdout
    from tfgrpo_dspy.records.evaluation import Gain
    from tfgrpo_dspy.run.run import Run
    from tfgrpo_dspy.statistics.estimates import Difference

logger = logging.getLogger(__name__)


def check_gain(required: bool, gate: Gate | None, valset: Sequence[dspy.Example] | None) -> None:
    """Raises `SettingsError` if a gain is required and there is nothing to measure it on."""
    if required and valset is None and not _holdouts(gate):
        raise SettingsError(
            "`require_gain` needs problems to measure it on: give a `valset`, or a `gate` that holds some out"
        )


def judge_gain(run: Run, workers: Workers) -> Gain | None:
    """Measure the gain on the valset, else on the gate's held-out problems; None if none is required."""
    if not run.settings.require_gain:
        return None
    from tfgrpo_dspy.records.evaluation import Gain
    from tfgrpo_dspy.statistics.estimates import paired_difference

    examples, k = _compared_on(run.settings, run.gate, run.valset)
    initial, learned = run.settings.library, run.best_library
    gain = Gain(None, "the run learned nothing that it kept")
    if initial.experiences != learned.experiences:
        purpose, last = f"gain seed {run.settings.seed}", len(run.records)
        tried = run.bench(workers).try_out((initial, learned), examples, purpose=purpose, step=last, k=k)
        usage = tried[0].usage + tried[1].usage
        whole = all(t.is_whole for t in tried) and any(
            a and b for a, b in zip(*(t.rewards for t in tried), strict=True)
        )
        difference = paired_difference(tried[0].rewards, tried[1].rewards) if whole else None
        gain = Gain(difference, _why_withheld(difference), usage)
    if gain.withheld:
        logger.warning("the student is returned as it was: %s", gain.withheld)
    run.announcer(GainJudged(gain))
    return gain


def _why_withheld(difference: Difference | None) -> str:
    if difference is None:
        return "the gain could not be measured: the budget or lost rollouts left too little"
    d = difference
    shown = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] on {d.n} problems"
    return "" if d.verdict == "better" else f"a gain was required, and what was learned is {d.verdict}: {shown}"


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


def judges_in(gate: Gate | None) -> int:
    """Judges that a gate asks about each text."""
    from tfgrpo_dspy.gates.judge import Judge

    return sum(isinstance(one, Judge) for one in _gates(gate))


def gain_rollouts(settings: Settings, gate: Gate | None, valset: Sequence[dspy.Example] | None) -> int:
    """Rollouts of the final comparison; 0 if none is required."""
    if not settings.require_gain:
        return 0
    examples, k = _compared_on(settings, gate, valset)
    return 2 * len(examples) * k


def _compared_on(
    settings: Settings, gate: Gate | None, valset: Sequence[dspy.Example] | None
) -> tuple[Sequence[dspy.Example], int]:
    """The problems of the final comparison, and rollouts per problem and library."""
    holdouts = _holdouts(gate)
    k = max([settings.validation_rollouts, *(holdout.k for holdout in holdouts)])
    return (valset if valset is not None else holdouts[0].valset), k
