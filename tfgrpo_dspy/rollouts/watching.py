"""Outside of an evaluation: a program run once and watched, and LMs whose answers are draws of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import dspy

from tfgrpo_dspy.program.recorder import Recorder
from tfgrpo_dspy.program.transcript import render_trajectory
from tfgrpo_dspy.rollouts.sampling import Policy, Sampling
from tfgrpo_dspy.rollouts.task import render_answer


class Attempt(NamedTuple):
    """One run of a program."""

    prediction: dspy.Prediction
    trajectory: str
    """What the program did, call by call, safe to show to another prompt."""
    answer: str
    """Its outputs as `name: value` lines."""


def watch(
    program: dspy.Module, inputs: Mapping[str, Any], *, draw: str | None = None, temperature: float | None = None
) -> Attempt:
    """Run a program in the caller's context, and write down what it does.

    Args:
        program: Is not changed.
        inputs: What it is called with.
        draw: Names the draw: DSPy's cache answers the same name again, and no other, also within a rollout that is
            drawn apart from others already. None leaves the LMs as they are.
        temperature: Of a draw; None keeps each LM's own.
    """
    policy, lm = Policy.of(program), dspy.settings.lm
    if draw is not None:
        sampling = _sampling(f"sample of {lm.kwargs.get('rollout_id') if lm else None}", temperature)
        policy, lm = sampling.policy(policy, draw), sampling.lm(lm, draw) if lm else None
    recorder = Recorder(policy.names)
    with dspy.context(lm=lm, callbacks=[*(dspy.settings.callbacks or []), recorder]):
        prediction = policy.program(**inputs)
    return Attempt(prediction, render_trajectory(recorder.calls), render_answer(prediction))


def draw_lm(lm: dspy.BaseLM, draw: str, temperature: float | None = None) -> dspy.BaseLM:
    """A copy of an LM whose answers are a draw of its own, told by its name; see `watch`."""
    return _sampling("drawn", temperature).lm(lm, draw)


def _sampling(purpose: str, temperature: float | None) -> Sampling:
    return Sampling(purpose, 0, 1, temperature, 0.0)
