"""Best of n, self-consistency, DSPy's BestOfN and Refine: several answers at inference, one of which is chosen.

None is told what is right. Self-consistency counts answers that are equal, numbers by value, as one; DSPy's modules,
which take a reward function, are given the LM's own judgement, as by people who have no other at inference.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import attempt, describe_task, render_shown
from optimizers.refining import Wrapping
from optimizers.signatures import ChooseBest, EvaluateAttempt
from tfgrpo_dspy import MajorityVote
from tfgrpo_dspy.kit import Attempt, render_values
from tfgrpo_dspy.rewards import Metric

TEMPERATURE = 0.7
"""Of the n answers, unless the caller's LM has one of its own."""
TRIED = 3
"""Answers of DSPy's modules at most, as in its documentation."""


class BestOfN(dspy.Module):
    """n answers of a program, of which the LM chooses one.

    Args:
        program: What answers.
        n: Answers, >= 1.
    """

    def __init__(self, program: dspy.Module, n: int = 5) -> None:
        super().__init__()
        self.program, self.n = program, n
        self.judge = dspy.Predict(ChooseBest)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The chosen prediction; the first one if the choice names none of them."""
        made = _sample(self.program, inputs, self.n)
        shown = render_shown((one.answer, None) for one in made)
        best = self.judge(task=describe_task(inputs), attempts=shown).best
        return made[best - 1 if 1 <= best <= len(made) else 0].prediction


class SelfConsistency(dspy.Module):
    """n answers of a program, of which the most common is taken, the earliest of those equal to it.

    Args:
        program: What answers; its last output is what is counted.
        n: Answers, >= 1.
    """

    def __init__(self, program: dspy.Module, n: int = 5) -> None:
        super().__init__()
        self.program, self.n = program, n

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The first prediction whose last output is the most common one."""
        made = [one.prediction for one in _sample(self.program, inputs, self.n)]
        votes = MajorityVote(field=list(made[0].keys())[-1]).score_group(dspy.Example(**inputs), made)
        return next((one for one, vote in zip(made, votes, strict=True) if vote.score), made[0])


def _sample(program: dspy.Module, inputs: dict[str, Any], n: int) -> list[Attempt]:
    own = (dspy.settings.lm.kwargs if dspy.settings.lm else {}).get("temperature")
    heat = TEMPERATURE if own is None else own
    return [attempt(program, inputs, draw=f"sample {i}", temperature=heat) for i in range(n)]


def judged(inputs: dict[str, Any], prediction: dspy.Prediction) -> float:
    """The reward that DSPy's BestOfN and Refine go by here: 1 where the LM takes the answer for right, else 0."""
    shown = render_values(dict(prediction.items()))
    return float(dspy.Predict(EvaluateAttempt)(task=describe_task(inputs), trajectory=shown).is_correct)


def best_of_n(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Five answers and a judgement; a budget of compile changes nothing."""
    return Wrapping(BestOfN)


def self_consistency(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Five answers and a vote; a budget of compile changes nothing."""
    return Wrapping(SelfConsistency)


def dspy_best_of_n(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """DSPy's BestOfN over three answers; a budget of compile changes nothing."""
    return Wrapping(partial(dspy.BestOfN, N=TRIED, reward_fn=judged, threshold=1.0))


def dspy_refine(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """DSPy's Refine over three answers; a budget of compile changes nothing."""
    return Wrapping(partial(dspy.Refine, N=TRIED, reward_fn=judged, threshold=1.0))
