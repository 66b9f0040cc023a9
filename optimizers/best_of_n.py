"""Best of n and self-consistency: several answers at inference, one chosen without being told what is right."""

from __future__ import annotations

from collections import Counter
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import attempt, describe_task, render_shown
from optimizers.refining import Wrapping
from optimizers.signatures import ChooseBest
from tfgrpo_dspy.kit import Attempt
from tfgrpo_dspy.rewards import Metric

TEMPERATURE = 0.7
"""Of the n answers, unless the caller's LM has one of its own."""


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
    """n answers of a program, of which the most common is taken, the earliest of equals.

    Args:
        program: What answers; its last output is what is counted.
        n: Answers, >= 1.
    """

    def __init__(self, program: dspy.Module, n: int = 5) -> None:
        super().__init__()
        self.program, self.n = program, n

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The first prediction whose last output is the most common one."""
        made = _sample(self.program, inputs, self.n)
        answers = [_last_output(one.prediction) for one in made]
        chosen = Counter(answers).most_common(1)[0][0]
        return made[answers.index(chosen)].prediction


def _sample(program: dspy.Module, inputs: dict[str, Any], n: int) -> list[Attempt]:
    own = (dspy.settings.lm.kwargs if dspy.settings.lm else {}).get("temperature")
    heat = TEMPERATURE if own is None else own
    return [attempt(program, inputs, draw=f"sample {i}", temperature=heat) for i in range(n)]


def _last_output(prediction: dspy.Prediction) -> str:
    return str(next(reversed(list(prediction.values())), "")).strip().casefold()


def best_of_n(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Five answers and a judgement; a budget of compile changes nothing."""
    return Wrapping(BestOfN)


def self_consistency(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Five answers and a vote; a budget of compile changes nothing."""
    return Wrapping(SelfConsistency)
