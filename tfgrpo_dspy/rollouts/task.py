"""One rollout: the program is called, its answer scored, and what happened written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import dspy
from dspy.utils.exceptions import ContextWindowExceededError, LMError
from pydantic_core import to_jsonable_python

from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.lm.listening import recorder_here
from tfgrpo_dspy.lm.meter import Meter, active_meter
from tfgrpo_dspy.lm.unmetered import Guard
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.recorder import Recorder
from tfgrpo_dspy.program.transcript import render_trajectory, render_values
from tfgrpo_dspy.records.rollouts import Lost, Made, Scored, Unscored
from tfgrpo_dspy.rewards.reward import GroupMetric, Metric, Reward, grader
from tfgrpo_dspy.rollouts.failures import FATAL, Loss, guarded, lm_error_in, loss_by_metric
from tfgrpo_dspy.rollouts.group_scoring import Jury
from tfgrpo_dspy.rollouts.sampling import Policy, Sampling

Grade: TypeAlias = Callable[[dspy.Example, dspy.Prediction], Reward]

_BOOKKEEPING = frozenset({"trajectory", "history", "termination_reason"})
"""Outputs that agents attach to their answer; the trajectory shows them already."""

_MODULE_HISTORY = 64
"""Calls that each module of the policy remembers; DSPy's own bound lets the prompts of 10 000 rollouts pile up."""


@dataclass(frozen=True, slots=True)
class RolloutTask:
    """What the rollouts of a batch have in common, wherever they run."""

    policy: Policy
    metric: Metric
    sampling: Sampling
    grade: Grade | None
    """The metric, looked at once; None if it scores groups, which is done when all their rollouts were made."""

    @classmethod
    def of(cls, program: dspy.Module, metric: Metric, sampling: Sampling) -> RolloutTask:
        """The task of rolling out a program."""
        grade = None if isinstance(metric, GroupMetric) else grader(metric)
        return cls(Policy.of(program), metric, sampling, grade)

    def __call__(self, example: dspy.Example, name: str) -> Made:
        """Make one rollout, in this thread."""
        return _roll_afresh(self.policy, example, self.grade, self.sampling, name)

    @property
    def jury(self) -> Jury | None:
        """Who scores whole groups, if the metric does."""
        return Jury(self.metric, self.sampling.timeout) if isinstance(self.metric, GroupMetric) else None

    def known_as(self, name: str) -> str:
        """What the journal calls a rollout or a group of that name."""
        return f"{self.sampling.purpose}: {name} {self.policy.fingerprint}"

    def __reduce__(self) -> tuple[Any, ...]:  # predictors are known by their identity, which is another elsewhere
        return RolloutTask.of, (self.policy.program, self.metric, self.sampling)


def _roll_afresh(policy: Policy, example: dspy.Example, grade: Grade | None, sampling: Sampling, name: str) -> Made:
    started = time.perf_counter()
    withheld = sampling.withheld(policy.program, name)
    policy = sampling.policy(policy, name, withheld)
    lm = sampling.lm(dspy.settings.lm, name) if dspy.settings.lm is not None else None
    meter = active_meter() or Meter()
    guard = Guard(meter)
    recorder = Recorder(policy.names, guard)
    judge = Recorder(guard=guard)  # the metric may ask an LM: paid as well, but nothing that the policy did
    rolling = recorder.recording(lm=lm, trace=None, max_history_size=_MODULE_HISTORY)
    judging = judge.recording(trace=None)
    attempt = partial(_attempt, policy.program, example, grade, sampling.failure_score, rolling, judging)
    meter.owe(name.rpartition("/")[0], sampling.size + 1)
    outcome = guarded(attempt, guard, meter, sampling.timeout)
    if isinstance(outcome, Loss):
        outcome = _Outcome(lost=outcome)
    made = outcome.finished(name, recorder, recorder.usage + judge.usage, time.perf_counter() - started)
    return replace(made, withheld=withheld) if withheld and not isinstance(made, Lost) else made


_NO_REWARD = Reward(0.0, "")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one rollout, before it is written down."""

    reward: Reward = _NO_REWARD
    answer: str = ""
    policy_failure: str | None = None
    lost: Loss | None = None
    outputs: Mapping[str, Any] | None = None
    """What is to be scored with its group; None for what has its reward."""

    def finished(self, name: str, recorder: Recorder, usage: Usage, seconds: float) -> Made:
        if self.lost is not None:
            return Lost(name, *self.lost, usage, seconds)
        trajectory, calls = render_trajectory(recorder.calls), recorder.tool_calls
        if self.outputs is not None:
            return Unscored(name, self.outputs, trajectory, self.answer, calls, usage, seconds)
        value, feedback, parts = self.reward
        failure = self.policy_failure
        return Scored(name, value, feedback, trajectory, self.answer, calls, usage, seconds, failure, parts)


def _attempt(
    policy: dspy.Module,
    example: dspy.Example,
    grade: Grade | None,
    failure_score: float,
    rolling: AbstractContextManager[None],
    judging: AbstractContextManager[None],
) -> _Outcome:
    """The one boundary around student and metric code, in training and in evaluation alike."""
    try:
        with rolling:
            prediction = call(policy, example)
        if grade is None:
            return _Outcome(answer=render_answer(prediction), outputs=outputs_of(prediction, _BOOKKEEPING))
        with judging:
            reward = grade(example, prediction)
    except MetricError as error:
        return _Outcome(lost=loss_by_metric(error))
    except Exception as error:  # noqa: BLE001 - student code may raise anything
        return _failed(error, failure_score)
    return _Outcome(reward, render_answer(prediction))


def _failed(error: Exception, failure_score: float) -> _Outcome:
    cause = lm_error_in(error) or error
    if isinstance(cause, FATAL):
        raise cause
    described = f"{type(error).__name__}: {error}"
    if isinstance(cause, LMError | ConnectionError | TimeoutError) and not isinstance(
        cause, ContextWindowExceededError
    ):
        return _Outcome(lost=Loss("infrastructure", described))
    return _Outcome(Reward(failure_score, f"The attempt failed: {described}"), policy_failure=described)


def call(program: dspy.Module, example: dspy.Example) -> Any:
    """The program's prediction for an example; an async-only program runs in an event loop of its own."""
    inputs, recorder = dict(example.inputs()), recorder_here()
    if not hasattr(type(program), "forward"):
        return asyncio.run(program.acall(**inputs))
    return program(**inputs) if recorder is None else recorder.run(program, inputs)


def render_answer(prediction: Any) -> str:
    """The outputs of a program as `name: value` lines."""
    if not isinstance(prediction, dspy.Prediction):
        return str(prediction)
    return render_values({name: value for name, value in prediction.items() if name not in _BOOKKEEPING})


def outputs_of(prediction: Any, left_out: frozenset[str]) -> dict[str, Any]:
    """What a program returned, as JSON values by name; `answer` for one that returns no Prediction."""
    named = dict(prediction.items()) if isinstance(prediction, dspy.Prediction) else {"answer": prediction}
    shown = {name: value for name, value in named.items() if name not in left_out}
    values: dict[str, Any] = to_jsonable_python(shown, fallback=str)
    return values
