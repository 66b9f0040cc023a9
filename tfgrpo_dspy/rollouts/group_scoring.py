"""Rewards that need the whole group: its rollouts are made first, then scored together, once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import dspy

from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.lm.metering import metered
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.recorder import Recorder
from tfgrpo_dspy.records.rollouts import Lost, Rollout, Scored, Unscored, group_of
from tfgrpo_dspy.rewards.reward import GroupMetric, Reward, score_together
from tfgrpo_dspy.rollouts.failures import Loss, guarded, loss_by_metric, unanswered
from tfgrpo_dspy.runtime.workers import Recalled, Workers
from tfgrpo_dspy.text import fingerprint


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a group metric said of a group, or why it said nothing."""

    rewards: tuple[Reward, ...]
    """In the order of the rollouts it was shown; empty if there are none."""
    lost: Loss | None
    usage: Usage
    """Calls of the metric."""
    seconds: float

    @property
    def is_final(self) -> bool:
        """Whether it is a result: neither infrastructure nor a budget kept the metric from giving one."""
        return self.lost is None or self.lost.cause == "metric"


class Jury(NamedTuple):
    """A group metric at work."""

    metric: GroupMetric
    timeout: float | None
    """Seconds that it may take for a group; None for no limit."""

    def score(
        self, example: dspy.Example, waiting: Sequence[Unscored], known_as: Callable[[str], str], workers: Workers
    ) -> list[Recalled[Rollout]]:
        """The rollouts with their rewards, in the given order.

        What the metric took is counted with the first of those that it scored. If it fails they are all lost.

        Args:
            example: Of the group.
            waiting: Its rollouts that took place, at least one.
            known_as: What the store calls a rollout or a group of that name.
            workers: The run's pool.
        """
        group = known_as(group_of(waiting[0].name))
        shown = fingerprint(*(json.dumps([each.name, each.outputs]) for each in waiting))
        verdict = workers.recall(f"{group} {shown} rewards", Verdict, partial(self._ask, example, waiting)).made
        settle = [partial(settled, each, verdict, i) for i, each in enumerate(waiting)]
        return [
            workers.recall(f"{known_as(each.name)} {shown} scored", Rollout, make)
            for each, make in zip(waiting, settle, strict=True)
        ]

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
                rewards = score_together(self.metric, example, predictions)
            if not recorder.is_answered and (behind := unanswered(recorder.failures)):
                raise MetricError(f"the metric made rewards of {type(behind).__name__}: {behind}")
            return rewards
        except MetricError as error:
            return loss_by_metric(error, recorder.failures)


def settled(made: Unscored, verdict: Verdict, position: int) -> Rollout:
    """A rollout with what a verdict says of it."""
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
