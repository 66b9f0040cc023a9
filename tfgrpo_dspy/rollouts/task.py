"""One rollout: the program is called, its answer scored, and what happened written down."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import dspy
from pydantic_core import to_jsonable_python

from tfgrpo_dspy.errors import OF_PROGRAMS, MetricError
from tfgrpo_dspy.lm.draws import ensure_drawn
from tfgrpo_dspy.lm.metering import metered
from tfgrpo_dspy.lm.scope import active_meter
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.lm.verdicts.facts import causes
from tfgrpo_dspy.program.instructions import withhold
from tfgrpo_dspy.program.recorder import Recorder
from tfgrpo_dspy.program.transcript import render_trajectory, render_values
from tfgrpo_dspy.program.values import Things, as_text, whole_values
from tfgrpo_dspy.records.rollouts import Lost, Made, Scored, Unscored
from tfgrpo_dspy.rewards.reward import GroupMetric, Metric, Reward, grader
from tfgrpo_dspy.rollouts.failures import Loss, guarded, judged, loss_by_metric, unanswered
from tfgrpo_dspy.rollouts.sampling import Policy, Sampling

if TYPE_CHECKING:
    from tfgrpo_dspy.rollouts.group_scoring import Jury

Grade: TypeAlias = Callable[[dspy.Example, dspy.Prediction], Reward]

_BOOKKEEPING = frozenset({"trajectory", "history", "termination_reason"})
"""Outputs that agents attach to their answer; the trajectory shows them already."""


@dataclass(frozen=True, slots=True)
class RolloutTask:
    """What the rollouts of a batch have in common, wherever they run."""

    policy: Policy
    metric: Metric
    sampling: Sampling
    grade: Grade | None
    """The metric, looked at once; None if it scores groups, which is done when all their rollouts were made."""
    _copies: dict[int, tuple[dspy.BaseLM, dspy.BaseLM]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, program: dspy.Module, metric: Metric, sampling: Sampling) -> RolloutTask:
        """The task of rolling out a program."""
        grade = None if isinstance(metric, GroupMetric) else grader(metric)
        return cls(Policy.of(sampling.program(program)), metric, sampling, grade)

    def __call__(self, example: dspy.Example, name: str) -> Made:
        """Make one rollout, in this thread."""
        with metered(
            lambda: [predictor.lm for predictor in self.policy.program.predictors() if predictor.lm is not None]
        ):
            started, sampling, policy = time.perf_counter(), self.sampling, self.policy
            ensure_drawn()
            withheld = _withheld(self, example, name)
            if withheld:
                policy = Policy.of(withhold(policy.program, withheld))
            recorder = Recorder(policy.names)
            judge = Recorder()  # the metric may ask an LM: paid as well, but nothing that the policy did
            due = sampling.due(name)
            rolling = recorder.recording(policy.program, sampling.draw(name), due, lm=self.lm_here())
            things = Things(example.inputs().values())
            boundary = _Boundary(self, policy.program, example, things)
            attempt = partial(boundary.attempt, recorder, judge, rolling, judge.recording(due=due))
            outcome = guarded(attempt, (recorder, judge), sampling.timeout)
            if recorder.unlisted and sampling.is_learned_from and not hasattr(policy.program, "without_library"):
                _say_unlisted(recorder.unlisted)
            if recorder.usage == Usage() and any(c.kind == "predictor" and c.error is None for c in recorder.calls):
                _say(
                    "predictors were answered though no call was seen: if they asked a language model past DSPy's "
                    "engines, as one with a `__call__` of its own may, that is not counted, and no cap holds for it"
                )
            if isinstance(outcome, Loss):
                outcome = _Outcome(lost=outcome)
            made = outcome.finished(name, recorder, things, recorder.usage + judge.usage, time.perf_counter() - started)
            return replace(made, withheld=tuple(withheld)) if withheld and not isinstance(made, Lost) else made

    def lm_here(self) -> dspy.BaseLM | None:
        """The configured LM as rollouts ask it; copied once, as that takes DSPy 0.03 ms."""
        lm = dspy.settings.lm
        if lm is None:
            return None
        known = self._copies.get(id(lm))
        if known is None:
            known = self._copies.setdefault(id(lm), (lm, self.sampling.lm(lm)))
        return known[1]

    @property
    def jury(self) -> Jury | None:
        """Who scores whole groups, if the metric does."""
        if not isinstance(self.metric, GroupMetric):
            return None
        from tfgrpo_dspy.rollouts.group_scoring import Jury

        return Jury(self.metric, self.sampling.timeout)

    def known_as(self, name: str) -> str:
        """What the store calls a rollout or a group of that name."""
        return f"{self.sampling.purpose}: {name} {self.policy.fingerprint}"

    def __reduce__(self) -> tuple[Any, ...]:  # predictors are known by their identity, which is another elsewhere
        return RolloutTask.of, (self.policy.program, self.metric, self.sampling)


def _withheld(task: RolloutTask, example: dspy.Example, name: str) -> dict[str, str | None]:
    """What a rollout does not read though it would, with what it reads instead; of what is retrieved, only what is."""
    drawn, find = task.sampling.withheld(name), getattr(task.policy.program, "read_for", None)
    if not drawn or find is None:
        return drawn
    found = {experience.id for experience in find(**example.inputs())}
    return {id: text for id, text in drawn.items() if id in found}


def _say(sentence: str) -> None:
    if (meter := active_meter()) is not None:
        meter.say(sentence)


def _say_unlisted(unlisted: Collection[str]) -> None:
    _say(
        f"the program calls predictors that DSPy does not list among its: {'; '.join(sorted(unlisted))}. They "
        "read no library: make each an attribute of a module that is not frozen, or an element of a list or "
        "dictionary that is one, and not anew in each call"
    )


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

    def finished(self, name: str, recorder: Recorder, things: Things, usage: Usage, seconds: float) -> Made:
        if self.lost is not None:
            return Lost(name, *self.lost, usage, seconds)
        trajectory, calls = render_trajectory(recorder.calls, things), recorder.tool_calls
        if self.outputs is not None:
            return Unscored(name, self.outputs, trajectory, self.answer, calls, usage, seconds)
        value, feedback, parts = self.reward
        failure = self.policy_failure
        return Scored(name, value, feedback, trajectory, self.answer, calls, usage, seconds, failure, parts)


@dataclass(frozen=True, slots=True)
class _Boundary:
    """The one boundary around student and metric code, in training and in evaluation alike."""

    task: RolloutTask
    program: dspy.Module
    example: dspy.Example
    things: Things
    """What is no text in the example, by name."""

    def attempt(
        self,
        recorder: Recorder,
        judge: Recorder,
        rolling: AbstractContextManager[None],
        judging: AbstractContextManager[None],
    ) -> _Outcome:
        """Call the program, and score what it answers."""
        try:
            with rolling:
                prediction = call(self.program, self.example, recorder)
            if (prediction is None or not recorder.is_answered) and (behind := unanswered(recorder.failures)):
                raise behind  # which the program swallowed: it has no answer of a model
            if prediction is None and recorder.failures:  # as of a BestOfN none of whose tries came through
                raise ValueError("the program returned nothing")
            answer = render_answer(prediction, self.things)
            if self.task.grade is None:
                return _Outcome(answer=answer, outputs=outputs_of(prediction, _BOOKKEEPING))
            with judging:
                reward = self.task.grade(self.example, prediction)
            if not judge.is_answered and (behind := unanswered(judge.failures)):
                raise MetricError(f"the metric made {reward.value:g} of {type(behind).__name__}: {behind}")
        except MetricError as error:
            return _Outcome(lost=loss_by_metric(error, judge.failures))
        except OF_PROGRAMS as error:
            return self._failed(error, recorder)
        return _Outcome(reward._replace(feedback=as_text(reward.feedback, self.things)), answer)

    def _failed(self, error: BaseException, recorder: Recorder) -> _Outcome:
        verdict = judged(error, recorder.failures)
        behind = error if any(one is verdict.error for one in causes(error)) else verdict.error
        described = as_text(f"{type(behind).__name__}: {behind}", self.things)
        if verdict.taken_for == "infrastructure":
            return _Outcome(lost=Loss("infrastructure", described))
        described = f"{described} ({recorder.remark})" if recorder.remark else described
        reward = Reward(self.task.sampling.failure_score, f"The attempt failed: {described}")
        return _Outcome(reward, policy_failure=described)


def call(program: dspy.Module, example: dspy.Example, recorder: Recorder) -> Any:
    """The program's prediction for an example; an async-only program runs in an event loop of its own."""
    inputs = whole_values(dict(example.inputs()))
    made = recorder.run(program, inputs) if hasattr(type(program), "forward") else program.acall(**inputs)
    return asyncio.run(made) if inspect.iscoroutine(made) else made


def render_answer(prediction: Any, things: Things | None = None) -> str:
    """The outputs of a program as `name: value` lines; `things` as in `render_trajectory`."""
    if not isinstance(prediction, dspy.Prediction):
        return as_text(prediction, things or Things())
    return render_values({name: value for name, value in prediction.items() if name not in _BOOKKEEPING}, things)


def outputs_of(prediction: Any, left_out: frozenset[str]) -> dict[str, Any]:
    """What a program returned, as JSON values by name; `answer` for one that returns no Prediction."""
    named = dict(prediction.items()) if isinstance(prediction, dspy.Prediction) else {"answer": prediction}
    shown = {name: value for name, value in named.items() if name not in left_out}
    values: dict[str, Any] = to_jsonable_python(shown, fallback=str)
    return values
