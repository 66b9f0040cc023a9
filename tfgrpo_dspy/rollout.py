"""Step 1, rollout and reward: G answers per query from a frozen LM that has read the library (paper, section 3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
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

from tfgrpo_dspy.budget import OutOfBudget
from tfgrpo_dspy.conditioning import copy_program
from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.events import GroupFinished, RolloutFinished
from tfgrpo_dspy.executor import Roll
from tfgrpo_dspy.group import Group, Lost, Rollout, Scored
from tfgrpo_dspy.guard import Guard
from tfgrpo_dspy.journal import fingerprint
from tfgrpo_dspy.meter import Meter, Unpriced, active_meter
from tfgrpo_dspy.metered import copy_lm
from tfgrpo_dspy.racing import HelperTimeout, within
from tfgrpo_dspy.reward import Metric, score
from tfgrpo_dspy.trajectory import Recorder, render_trajectory, render_values
from tfgrpo_dspy.usage import Usage
from tfgrpo_dspy.workers import Workers, done

FATAL = (LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedModelError)
"""Errors of the LM after which no call of the run can succeed: they stop it at once."""

_BOOKKEEPING = frozenset({"trajectory", "history", "termination_reason"})
"""Outputs that agents attach to their answer; the trajectory shows them already."""

_MODULE_HISTORY = 64
"""Calls that each module of the policy remembers; DSPy's own bound lets the prompts of 10 000 rollouts pile up."""


class Query(NamedTuple):
    """One example of a batch."""

    position: int
    """Where it stands in the trainset, from 0."""
    example: dspy.Example


class Policy(NamedTuple):
    """A program, looked through once rather than in every rollout."""

    program: dspy.Module
    names: Mapping[int, str]
    """Its predictors' names by `id(predictor)`."""
    has_lms: bool
    """Whether any predictor has an LM of its own."""
    fingerprint: str
    """Changes with what its predictors are told, the library included."""

    @classmethod
    def of(cls, program: dspy.Module) -> Policy:
        """The program as a policy."""
        named = program.named_predictors()
        told = fingerprint(*(p.signature.instructions for _, p in named))
        return cls(program, {id(p): name for name, p in named}, any(p.lm is not None for _, p in named), told)


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
    timeout: float | None = None
    """Seconds that program and metric may take together for one rollout; None for no limit."""

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
        return copy_lm(lm, **changed)

    def policy(self, policy: Policy, rollout: str) -> Policy:
        """The policy for one rollout: a copy if any predictor has an LM of its own, to be drawn apart as well."""
        if not policy.has_lms:
            return policy
        copied = copy_program(policy.program)
        for predictor in copied.predictors():
            if predictor.lm is not None:
                predictor.lm = self.lm(predictor.lm, rollout)
        return Policy.of(copied)


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


@dataclass(frozen=True, slots=True)
class RolloutTask:
    """What the rollouts of a batch have in common, wherever they run."""

    policy: Policy
    metric: Metric
    sampling: Sampling

    @classmethod
    def of(cls, program: dspy.Module, metric: Metric, sampling: Sampling) -> RolloutTask:
        """The task of rolling out a program."""
        return cls(Policy.of(program), metric, sampling)

    def __call__(self, example: dspy.Example, name: str) -> Rollout:
        """Make one rollout, in this thread."""
        return _roll_afresh(self.policy, example, self.metric, self.sampling, name)

    def __reduce__(self) -> tuple[Any, ...]:  # predictors are known by their identity, which is another elsewhere
        return RolloutTask.of, (self.policy.program, self.metric, self.sampling)


def _roll_out_group(task: RolloutTask, make: Roll, query: Query, workers: Workers) -> Future[Group]:
    sampling = task.sampling
    name = f"s{sampling.step}/e{query.position}"
    roll = partial(_roll, task, make, query.example, workers)
    rollouts = workers.gather([workers.submit(roll, f"{name}/r{i}") for i in range(sampling.size)])

    def complete(finished: list[Rollout]) -> Future[Group]:
        group = Group(name, query.example, tuple(finished))
        workers.announce(GroupFinished(sampling.step, group))
        return done(group)

    return workers.bind(rollouts, complete)


def _roll(task: RolloutTask, make: Roll, example: dspy.Example, workers: Workers, name: str) -> Rollout:
    known_as = f"{task.sampling.purpose}: {name} {task.policy.fingerprint}"
    afresh = partial(make, example, name)
    made = workers.memory.once(known_as, Rollout, afresh, keep=lambda made: getattr(made, "cause", "") != "budget")
    rollout = workers.spill.take(made)
    workers.announce(RolloutFinished(task.sampling.step, rollout))
    return rollout


def _roll_afresh(policy: Policy, example: dspy.Example, metric: Metric, sampling: Sampling, name: str) -> Rollout:
    started = time.perf_counter()
    policy = sampling.policy(policy, name)
    lm = sampling.lm(dspy.settings.lm, name) if dspy.settings.lm is not None else None
    meter = active_meter() or Meter()
    guard = Guard(meter)
    recorder = Recorder(policy.names, guard)
    judge = Recorder(guard=guard)  # the metric may ask an LM: paid as well, but nothing that the policy did
    callbacks = dspy.settings.callbacks or []
    rolling = dspy.context(lm=lm, callbacks=[*callbacks, recorder], trace=None, max_history_size=_MODULE_HISTORY)
    judging = dspy.context(callbacks=[*callbacks, judge], trace=None)
    attempt = partial(_attempt, policy.program, example, metric, sampling.failure_score, rolling, judging)
    meter.owe(name.rpartition("/")[0], sampling.size + 1)
    outcome = _guarded(attempt, guard, meter, sampling.timeout)
    return outcome.finished(name, recorder, recorder.usage + judge.usage, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one rollout, before it is written down."""

    reward: float = 0.0
    feedback: str = ""
    answer: str = ""
    policy_failure: str | None = None
    lost: tuple[Literal["infrastructure", "metric", "budget"], str] | None = None

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


def _guarded(attempt: Callable[[], _Outcome], guard: Guard, meter: Meter, timeout: float | None) -> _Outcome:
    """The outcome of an attempt that takes no longer than it may, and is not made when nothing new may start."""
    if meter.stopped_by is not None:
        return _Outcome(lost=("budget", meter.stopped_by))
    try:
        outcome = attempt() if timeout is None else within(timeout, attempt)
    except HelperTimeout as late:
        guard.abandon(str(late))
        return _Outcome(lost=("infrastructure", str(late)))
    except (OutOfBudget, Unpriced) as signal:
        guard.signal = signal
    if isinstance(guard.signal, Unpriced):
        raise guard.signal.error
    return outcome if guard.signal is None else _Outcome(lost=("budget", str(guard.signal)))


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
