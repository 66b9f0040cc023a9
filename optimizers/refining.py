"""Reflexion and self-refine: trying again with feedback in words, at inference, without being told what is right.

Nothing is learned by `compile`: both wrap the student. In Reflexion's paper (arXiv 2303.11366) the environment says
whether a trial succeeded; on a question whose answer is unknown it cannot, so the LM judges its own trial here.
Self-refine (arXiv 2303.17651) is a critique of an answer and a revision of that answer, in turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import attempt, describe_task, render_shown, with_notes
from optimizers.scaling import Examples, own_copy
from optimizers.signatures import CritiqueAnswer, EvaluateAttempt, ReflectOnFailure
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.rewards import Metric


class Reflexion(dspy.Module):
    """Trials of a program, each told what was said after the ones before; ends when the LM takes one for right.

    Args:
        program: What is tried.
        trials: At most, >= 1.
    """

    def __init__(self, program: dspy.Module, trials: int = 3) -> None:
        super().__init__()
        self.program = program
        self.trials = _at_least_one(trials, "trials")
        self.evaluate = dspy.Predict(EvaluateAttempt)
        self.reflect = dspy.Predict(ReflectOnFailure)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The prediction of the first trial that is taken for right, else of the last."""
        task, memory = describe_task(inputs), list[str]()
        for trial in range(self.trials):
            told = with_notes(self.program, "reflections", _BEFORE, "\n".join(memory)) if memory else self.program
            made = attempt(told, inputs, draw=f"sample {trial}")
            if trial == self.trials - 1 or self.evaluate(task=task, trajectory=made.trajectory).is_correct:
                break
            said = "\n".join(memory) or "(none)"
            memory.append(self.reflect(task=task, trajectory=made.trajectory, earlier_reflections=said).self_reflection)
        return made.prediction


class SelfRefine(dspy.Module):
    """A program's answer, criticised and revised in turns until the LM finds nothing wrong with it.

    Args:
        program: What answers and revises.
        rounds: Revisions at most, >= 1.
    """

    def __init__(self, program: dspy.Module, rounds: int = 2) -> None:
        super().__init__()
        self.program = program
        self.rounds = _at_least_one(rounds, "rounds")
        self.critic = dspy.Predict(CritiqueAnswer)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The answer after the last revision."""
        task, made = describe_task(inputs), attempt(self.program, inputs)
        for _ in range(self.rounds):
            said = self.critic(task=task, answer_given=made.answer)
            if said.is_correct:
                break
            notes = f"{render_shown([(made.answer, None)])}\n</draft>\n<critique>\n{said.critique}"
            made = attempt(with_notes(self.program, "critique", _DRAFT, notes), inputs)
        return made.prediction


_BEFORE = "Earlier trials at this very task seem to have failed. What was said about them:"
_DRAFT = "Your draft of an answer to this very task, and a critique of it; write a better answer.\n<draft>"


class Wrapping(Teleprompter):
    """Puts a copy of the student into a module that spends more calls at inference; makes none itself.

    Args:
        wrap: From the copy to that module.
    """

    def __init__(self, wrap: Callable[[dspy.Module], dspy.Module]) -> None:
        super().__init__()
        self.wrap = wrap

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The wrapped student; the data are not looked at."""
        return self.wrap(own_copy(student))


def reflexion(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Up to three trials, judged by the LM itself; a budget of compile changes nothing."""
    return Wrapping(Reflexion)


def self_refine(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Up to two revisions; a budget of compile changes nothing."""
    return Wrapping(SelfRefine)


def _at_least_one(number: int, name: str) -> int:
    if number < 1:
        raise SettingsError(f"{name} must be a whole number >= 1, got {number!r}")
    return number
