"""Step 1, rollout and reward: G answers per query from a frozen LM that has read the library (paper, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.records.events import GroupFinished, RolloutFinished
from tfgrpo_dspy.records.rollouts import Group, Made, Unscored
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.rollouts.task import RolloutTask
from tfgrpo_dspy.runtime.executor import Roll
from tfgrpo_dspy.runtime.workers import Workers, done

if TYPE_CHECKING:
    from tfgrpo_dspy.rollouts.group_scoring import Jury
    from tfgrpo_dspy.rollouts.past import PastRollouts


def roll_out(
    policy: dspy.Module, batch: Sequence[Query], metric: Metric, workers: Workers, sampling: Sampling
) -> list[Future[Group]]:
    """Sample and score `sampling.size` rollouts of the policy per query: o_1..o_G ~ π(o | q, E), r_i = R(q, o_i).

    Returns:
        One future per query, in batch order. A fatal LM error (wrong key, no credit, no such model) is its error;
        any other failure is a rollout.
    """
    task = RolloutTask.of(policy, metric, sampling)
    make = workers.place.load(task)
    return [_roll_out_group(task, make, query, workers) for query in batch]


def recall(past: PastRollouts, batch: Sequence[Query], workers: Workers, step: int) -> list[Future[Group]]:
    """Step 1 where the rollouts were made and scored by others: the groups as they were recorded, at no call."""
    groups = [past.group(query, step) for query in batch]
    for group in groups:
        for rollout in group.rollouts:
            workers.announce(RolloutFinished(step, rollout))
        workers.announce(GroupFinished(step, group))
    return [done(group) for group in groups]


def _roll_out_group(task: RolloutTask, make: Roll, query: Query, workers: Workers) -> Future[Group]:
    sampling, example = task.sampling, query.example
    name, stopping = f"s{sampling.step}/e{query.position}", sampling.stopping

    def roll(index: int) -> Callable[[], Made]:
        return partial(_roll, task, make, example, workers, f"{name}/r{index}")

    def complete(finished: Sequence[Made]) -> Future[Group]:
        scored = tuple(rollout for rollout in finished if not isinstance(rollout, Unscored))
        group = Group(name, example, scored, sampling.first)
        if stopping is not None and len(finished) < sampling.size and not stopping.is_enough(group):
            return workers.bind(workers.submit(roll(len(finished))), lambda one: complete([*finished, one]))
        workers.announce(GroupFinished(sampling.step, group))
        return done(group)

    rollouts = workers.submit_all([roll(index) for index in range(sampling.first)])
    if task.jury is not None:
        rollouts = workers.then(rollouts, partial(_score_together, task, task.jury, example, workers))
    return workers.bind(rollouts, complete)


def _roll(task: RolloutTask, make: Roll, example: dspy.Example, workers: Workers, name: str) -> Made:
    made, is_remembered = workers.recall(task.known_as(name), Made, partial(make, example, name))
    if not isinstance(made, Unscored):
        workers.announce(RolloutFinished(task.sampling.step, made, is_remembered, task.sampling.dataset))
    return made


def _score_together(
    task: RolloutTask, jury: Jury, example: dspy.Example, workers: Workers, made: list[Made]
) -> list[Made]:
    waiting = [each for each in made if isinstance(each, Unscored)]
    scored = jury.score(example, waiting, task.known_as, workers) if waiting else []
    for rollout, is_remembered in scored:
        workers.announce(RolloutFinished(task.sampling.step, rollout, is_remembered, task.sampling.dataset))
    rewarded = iter(scored)
    return [next(rewarded).made if isinstance(each, Unscored) else each for each in made]
