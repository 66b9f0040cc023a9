"""Rewards that need the whole group: its rollouts are made first, then scored together, once."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import dspy

from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.lm.metering import metered
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.recorder import Recorder
from tfgrpo_dspy.records.rollouts import Lost, Made, Rollout, Scored, Unscored
from tfgrpo_dspy.rewards.reward import GroupMetric, Reward, score_together
from tfgrpo_dspy.rollouts.failures import Loss, guarded, loss_by_metric
from tfgrpo_dspy.runtime.journal import Memory, fingerprint


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a group metric said of a group, or why it said nothing."""

    rewards: tuple[Reward, ...]
    """In the order of the rollouts it was shown; empty if there are none."""
    lost: Loss | None
    usage: Usage
    """Calls of the metric."""
    seconds: float


class Jury(NamedTuple):
    """A group metric at work."""

    metric: GroupMetric
    timeout: float | None
    """Seconds that it may take for a group; None for no limit."""

    def score(self, example: dspy.Example, made: Sequence[Made], known_as: str, memory: Memory) -> list[Rollout]:
        """The group's rollouts with their rewards, in the given order.

        What the metric took is counted with the first of those that it scored. If it fails they are all lost.
        """
        waiting = [each for each in made if isinstance(each, Unscored)]
        if not waiting:
            return [each for each in made if not isinstance(each, Unscored)]
        shown = fingerprint(*(json.dumps([each.name, each.outputs]) for each in waiting))
        ask = partial(self._ask, example, waiting)
        verdict = memory.once(f"{known_as} {shown} rewards", Verdict, ask, keep=_is_final)
        scored = {each.name: settled(each, verdict, i) for i, each in enumerate(waiting)}
        return [scored[each.name] if isinstance(each, Unscored) else each for each in made]

    def _ask(self, example: dspy.Example, waiting: Sequence[Unscored]) -> Verdict:
        started = time.perf_counter()
        recorder = Recorder()
        outcome = guarded(partial(self._attempt, example, waiting, recorder), [recorder], self.timeout)
        lost, rewards = (outcome, ()) if isinstance(outcome, Loss) else (None, outcome)
        return Verdict(rewards, lost, recorder.usage, time.perf_counter() - started)

    def _attempt(
        self, example: dspy.Example, waiting: Sequence[Unscored], recorder: Recorder
    ) -> tuple[Reward, ...] | Loss:
        predictions = [dspy.Prediction(**each.outputs) for each in waiting]
        try:
            with metered(), recorder.recording():
                return score_together(self.metric, example, predictions)
        except MetricError as error:
            return loss_by_metric(error)


def _is_final(verdict: Verdict) -> bool:
    return verdict.lost is None or verdict.lost.cause != "budget"


def settled(made: Unscored, verdict: Verdict, position: int) -> Rollout:
    """A rollout with what a verdict says of it.

    Args:
        made: The rollout.
        verdict: On its group.
        position: Its place among the rollouts that the metric was shown.
    """
    usage = made.usage if position else made.usage + verdict.usage
    if verdict.lost is not None:
        return Lost(made.name, *verdict.lost, usage, made.seconds)
    reward = verdict.rewards[position]
    return Scored(
        made.name,
        reward.value,
        reward.feedback,
        made.trajectory,
        made.answer,
        made.tool_calls,
        usage,
        made.seconds,
        parts=reward.parts,
        withheld=made.withheld,
    )
