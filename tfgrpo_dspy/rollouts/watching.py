"""Outside of an evaluation: a program run once and watched, and LMs whose answers are draws of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import dspy

from tfgrpo_dspy.lm.scope import scope_here
from tfgrpo_dspy.program.instructions import with_lms
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
    scope = scope_here()
    outer = scope.draw.name if scope is not None and scope.draw is not None else None
    sampling = Sampling(f"sample of {outer}", 0, 1, temperature, 0.0)
    policy, lm = Policy.of(sampling.program(program)), dspy.settings.lm
    recorder = Recorder(policy.names)
    settings: dict[str, Any] = {"callbacks": [*(dspy.settings.callbacks or []), recorder]}
    if draw is None:
        context = dspy.context(**settings)
    elif scope is not None:
        settings["lm"] = None if lm is None else sampling.lm(lm)
        context = replace(scope, draw=sampling.draw(draw)).entered(**settings)
    else:
        policy = Policy.of(with_lms(program, lambda own: draw_lm(own, draw, temperature)))
        context = dspy.context(lm=None if lm is None else draw_lm(lm, draw, temperature), **settings)
    with context:
        prediction = policy.program(**inputs)
    return Attempt(prediction, render_trajectory(recorder.calls), render_answer(prediction))


def draw_lm(lm: dspy.BaseLM, draw: str, temperature: float | None = None) -> dspy.BaseLM:
    """A copy of an LM whose answers are a draw of its own, told by its name; see `watch`."""
    sampling = Sampling("drawn", 0, 1, temperature, 0.0)
    number = sampling.draw(draw).seed
    seeded = {} if lm.kwargs.get("seed") is None else {"seed": number}
    copied: dspy.BaseLM = sampling.lm(lm).copy(rollout_id=number, **seeded)
    return copied
