"""Step 1, rollout and reward: G answers per query from a frozen LM that has read the library (paper, section 3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import dspy
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMUnsupportedModelError,
)

from tfgrpo_dspy.conditioning import copy_program
from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.events import GroupFinished, RolloutFinished
from tfgrpo_dspy.group import Group, Lost, Rollout, Scored
from tfgrpo_dspy.reward import Metric, score
from tfgrpo_dspy.trajectory import Recorder, render_trajectory, render_values
from tfgrpo_dspy.usage import Usage
from tfgrpo_dspy.workers import Workers, done

FATAL = (LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedModelError)
"""Errors of the LM after which no call of the run can succeed: they stop it at once."""

_BOOKKEEPING = frozenset({"trajectory", "history", "termination_reason"})
"""Outputs that agents attach to their answer; the trajectory shows them already."""


class Query(NamedTuple):
    """One example of a batch."""

    position: int
    """Where it stands in the trainset, from 0."""
    example: dspy.Example


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the rollouts of a batch are drawn, each apart from all others."""

    purpose: str
    """Keeps ranges of rollout ids apart: training, validation and each evaluation have their own."""
    step: int
    size: int
    """Rollouts per query."""
    temperature: float | None
    """None keeps each LM's own."""
    failure_score: float

    def lm(self, lm: dspy.BaseLM, rollout: str) -> dspy.BaseLM:
        """A copy of the LM for one rollout.

        Its `rollout_id` makes DSPy's cache answer a re-run but nothing else. An LM that was given a `seed` gets
        another one for each rollout, or a provider that honours it would return the same answer G times.
        """
        number = int.from_bytes(blake2b(f"{self.purpose}|{rollout}".encode(), digest_size=8).digest(), "big") >> 1
        changed: dict[str, Any] = {"rollout_id": number}
        if self.temperature is not None:
            changed["temperature"] = self.temperature
        if lm.kwargs.get("seed") is not None:
            changed["seed"] = number % 2**31
        return lm.copy(**changed)

    def policy(self, policy: dspy.Module, rollout: str) -> dspy.Module:
        """The policy for one rollout: a copy if any predictor has an LM of its own, to be drawn apart as well."""
        if all(predictor.lm is None for predictor in policy.predictors()):
            return policy
        copied = copy_program(policy)
        for predictor in copied.predictors():
            if predictor.lm is not None:
                predictor.lm = self.lm(predictor.lm, rollout)
        return copied


def roll_out(
    policy: dspy.Module, batch: Sequence[Query], metric: Metric, workers: Workers, sampling: Sampling
) -> list[Future[Group]]:
    """Sample and score `sampling.size` rollouts of the policy per query: o_1..o_G ~ π(o | q, E), r_i = R(q, o_i).

    Returns:
        One future per query, in batch order. A fatal LM error (wrong key, no credit, no such model) is its error;
        any other failure is a rollout.
    """
    return [_roll_out_group(policy, query, metric, workers, sampling) for query in batch]


def _roll_out_group(
    policy: dspy.Module, query: Query, metric: Metric, workers: Workers, sampling: Sampling
) -> Future[Group]:
    name = f"s{sampling.step}/e{query.position}"
    roll = partial(_roll, policy, query.example, metric, workers, sampling)
    rollouts = workers.gather([workers.submit(roll, f"{name}/r{i}") for i in range(sampling.size)])

    def complete(finished: list[Rollout]) -> Future[Group]:
        group = Group(name, query.example, tuple(finished))
        workers.announce(GroupFinished(sampling.step, group))
        return done(group)

    return workers.bind(rollouts, complete)


def _roll(
    policy: dspy.Module, example: dspy.Example, metric: Metric, workers: Workers, sampling: Sampling, name: str
) -> Rollout:
    started = time.perf_counter()
    policy = sampling.policy(policy, name)
    lm = sampling.lm(dspy.settings.lm, name) if dspy.settings.lm is not None else None
    recorder = Recorder({id(predictor): at for at, predictor in policy.named_predictors()})
    judge = Recorder()  # the metric may ask an LM, the caller's: paid as well, but nothing that the policy did
    callbacks = dspy.settings.callbacks or []
    rolling = dspy.context(lm=lm, callbacks=[*callbacks, recorder], trace=None)
    judging = dspy.context(callbacks=[*callbacks, judge], trace=None)
    outcome = _attempt(policy, example, metric, sampling.failure_score, rolling, judging)
    rollout = outcome.finished(name, recorder, recorder.usage + judge.usage, time.perf_counter() - started)
    workers.announce(RolloutFinished(sampling.step, rollout))
    return rollout


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one rollout, before it is written down."""

    reward: float = 0.0
    feedback: str = ""
    answer: str = ""
    policy_failure: str | None = None
    lost: tuple[Literal["infrastructure", "metric"], str] | None = None

    def finished(self, name: str, recorder: Recorder, usage: Usage, seconds: float) -> Rollout:
        if self.lost is not None:
            return Lost(name, *self.lost, usage, seconds)
        trajectory = render_trajectory(recorder.calls)
        return Scored(
            name,
            self.reward,
            self.feedback,
            trajectory,
            self.answer,
            recorder.tool_calls,
            usage,
            seconds,
            self.policy_failure,
        )


def _attempt(
    policy: dspy.Module,
    example: dspy.Example,
    metric: Metric,
    failure_score: float,
    rolling: AbstractContextManager[None],
    judging: AbstractContextManager[None],
) -> _Outcome:
    """The one boundary around student and metric code, in training and in evaluation alike."""
    try:
        with rolling:
            prediction = call(policy, example)
        with judging:
            reward = score(metric, example, prediction)
    except MetricError as error:
        cause = lm_error_in(error)
        if isinstance(cause, FATAL):
            raise cause from error
        return _Outcome(lost=("metric", str(error)))
    except Exception as error:  # noqa: BLE001 - student code may raise anything
        return _failed(error, failure_score)
    return _Outcome(reward.value, reward.feedback, render_answer(prediction))


def _failed(error: Exception, failure_score: float) -> _Outcome:
    cause = lm_error_in(error) or error
    if isinstance(cause, FATAL):
        raise cause
    described = f"{type(error).__name__}: {error}"
    if isinstance(cause, LMError | ConnectionError | TimeoutError) and not isinstance(
        cause, ContextWindowExceededError
    ):
        return _Outcome(lost=("infrastructure", described))
    return _Outcome(failure_score, f"The attempt failed: {described}", policy_failure=described)


def lm_error_in(error: BaseException) -> LMError | None:
    """The LM's error behind an exception, if student code wrapped one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LMError):
        cause = cause.__cause__
    return cause


def call(program: dspy.Module, example: dspy.Example) -> Any:
    """The program's prediction for an example; an async-only program runs in an event loop of its own."""
    inputs = dict(example.inputs())
    return program(**inputs) if hasattr(type(program), "forward") else asyncio.run(program.acall(**inputs))


def render_answer(prediction: Any) -> str:
    """The outputs of a program as `name: value` lines."""
    if not isinstance(prediction, dspy.Prediction):
        return str(prediction)
    return render_values({name: value for name, value in prediction.items() if name not in _BOOKKEEPING})
