"""The demo's student: an ordinary DSPy program, with nothing in it that knows of the simulation."""

from __future__ import annotations

import dspy


class SolveProblem(dspy.Signature):
    """Solve the problem. Give the answer as a plain number, without a unit."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField(desc="a number")


def make_solver() -> dspy.Module:
    """A new solver: step-by-step reasoning over one small signature."""
    return dspy.ChainOfThought(SolveProblem)
