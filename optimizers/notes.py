"""What the neighbours share: notes in a program's instructions, attempts as text, and sampling within a rollout."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dspy

from tfgrpo_dspy import BudgetError, Scored, evaluate
from tfgrpo_dspy.kit import (
    Attempt,
    OutOfBudget,
    copy_program,
    default_conditioned,
    neutralise,
    render_values,
    shorten,
    watch,
)
from tfgrpo_dspy.rewards import Metric

logger = logging.getLogger(__name__)

ROUND = 16
"""Tasks that are worked on side by side; what comes of them is kept before the next."""
SHOWN_TOKENS = 4_000
"""Estimated tokens of a trajectory that a prompt shows at most; longer ones lose their middle."""


_PRACTICE = 10**9
"""Added to seeds of `evaluate`, so that no rollout here shares an id with those of an evaluation."""


def with_notes(program: dspy.Module, tag: str, heading: str, notes: str) -> dspy.Module:
    """A copy of the program whose predictors read the notes, at the end of their instructions and between tags.

    Of a `dspy.ReAct` only the acting predictor reads them, as with an experience library.
    """
    noted = copy_program(program)
    readers = default_conditioned(noted)
    for name, predictor in noted.named_predictors():
        if name in readers:
            told = f"{predictor.signature.instructions}\n\n<{tag}>\n{heading}\n{neutralise(notes)}\n</{tag}>"
            predictor.signature = predictor.signature.with_instructions(told)
    return noted


def render_shown(attempts: Iterable[tuple[str, float | None]]) -> str:
    """Attempts under numbered headers, each with its reward if it has one."""
    return "\n\n".join(
        f"Attempt {i}{'' if reward is None else f' (reward {reward:g})'}:\n{text}"
        for i, (text, reward) in enumerate(attempts, start=1)
    )


def practise(
    program: dspy.Module, examples: Sequence[dspy.Example], metric: Metric, seed: int, round_: int = 0, k: int = 1
) -> list[tuple[Scored, ...]]:
    """The scored rollouts of each example, drawn apart from those of every evaluation and of other rounds.

    Raises:
        OutOfBudget: There was none left for a single one.
    """
    seed = _PRACTICE + 10_000 * seed + round_
    try:
        made = evaluate(program, examples, metric, k=k, seed=seed, display_progress=False)
    except BudgetError as spent:
        raise OutOfBudget(str(spent)) from spent
    return [group.scored for group in made.groups]


@contextmanager
def until_spent() -> Iterator[None]:
    """Work that ends where the budget does; what it has by then is kept."""
    try:
        yield
    except OutOfBudget as spent:
        logger.warning("stopped with what was learned so far: %s", spent)


def ask_all(question: type[dspy.Signature], asked: Sequence[Mapping[str, str]]) -> list[dspy.Prediction | None]:
    """The answers to a question about each of several, side by side; None where a call failed."""
    if not asked:
        return []
    examples = [dspy.Example(**one).with_inputs(*one) for one in asked]
    return list(dspy.Predict(question).batch(examples, max_errors=len(examples) + 1, disable_progress_bar=True))


def describe_task(inputs: Mapping[str, Any]) -> str:
    """The inputs of a task, as text."""
    return shorten(render_values(inputs), SHOWN_TOKENS)


def told_of(example: dspy.Example, rollout: Scored) -> dict[str, str]:
    """What a question about an attempt is told: the task, what was done, its reward and feedback, what was expected."""
    return {
        "task": describe_task(dict(example.inputs())),
        "trajectory": shorten(rollout.trajectory, SHOWN_TOKENS),
        "reward": f"{rollout.reward:g}",
        "feedback": neutralise(rollout.feedback),
        "expected": render_values(dict(example.labels())),
    }


def attempt(
    program: dspy.Module, inputs: Mapping[str, Any], *, draw: str | None = None, temperature: float | None = None
) -> Attempt:
    """Run a program and write down what it does, shortened for a prompt; see `tfgrpo_dspy.kit.watch`."""
    made = watch(program, inputs, draw=draw, temperature=temperature)
    return made._replace(trajectory=shorten(made.trajectory, SHOWN_TOKENS))
