"""What a program is meant to do, where neither a setting nor its instructions say: one question, once in a run."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dspy

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.transcript import render_values
from tfgrpo_dspy.records.events import ObjectiveDerived
from tfgrpo_dspy.records.failures import Cause
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.signatures import DeriveObjective
from tfgrpo_dspy.steps.reading.texts import says_nothing
from tfgrpo_dspy.steps.reflection import Reflection, Unusable
from tfgrpo_dspy.text import neutralise, one_line, shorten

LEAST_ROLLOUTS = 300
"""Planned rollouts from which a run is worth the call: those of 20 examples by the settings of the paper (ours)."""
_TASKS, _TASK_TOKENS, _SCORING_TOKENS = 6, 200, 300
_UNSAID = "Given the fields `"
"""How the instructions begin that DSPy writes for a signature which has none: they name its fields only."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Objective:
    """What was derived."""

    text: str
    """Empty if nothing could be had."""
    usage: Usage = Usage()
    cause: Cause = "reply"
    """Why nothing could be had, if so."""

    @property
    def is_final(self) -> bool:
        """Whether it is a result: the endpoint was reached, and the budget allowed it."""
        return self.cause == "reply"


def with_learning(objective: str, learning_objective: str | None) -> str:
    """Both objectives as prompts are told them."""
    return f"{objective}\nTo be learned from the attempts: {learning_objective}" if learning_objective else objective


def derive(
    examples: Sequence[dspy.Example],
    metric: Any,
    said: str,
    settings: Settings,
    reflection: Reflection,
    workers: Workers,
) -> Objective:
    """Ask what the program is meant to do, and what of it is to be learned, where nobody says and the run is not short.

    Shown are the first few examples, the metric by its name and the first paragraph of its docstring, and what is
    `said` of the objective so far: the program's own instructions, if it was not given. An empty one where there is
    nothing to ask.
    """
    is_short = len(examples) * settings.epochs * settings.group_size < LEAST_ROLLOUTS
    if is_short or settings.objective or settings.learning_objective or not said.startswith(_UNSAID):
        return Objective("")
    shown = [example if settings.use_ground_truth else example.inputs() for example in examples[:_TASKS]]
    while isinstance(metric, partial):
        metric = metric.func
    scored_by = [getattr(metric, "__name__", type(metric).__name__), (inspect.getdoc(metric) or "").split("\n\n")[0]]
    inputs = {
        "told": said,
        "tasks": "\n\n".join(neutralise(shorten(render_values(dict(one)), _TASK_TOKENS)) for one in shown),
        "scoring": neutralise(shorten(": ".join(filter(None, scored_by)), _SCORING_TOKENS)),
    }
    make = partial(_ask, inputs, reflection)
    made = workers.results([workers.task("objective", Objective, make, reads=inputs.values())])[0]
    if made.text:
        workers.announce(ObjectiveDerived(made.text))
    return made


def _ask(inputs: dict[str, str], reflection: Reflection) -> Objective:
    try:
        answer = reflection.ask(DeriveObjective, inputs)
    except Unusable as error:
        logger.warning("what the program is meant to do could not be derived, its fields are named instead: %s", error)
        return Objective("", error.usage, error.cause)
    said = {name: "" if says_nothing(text) else one_line(text) for name, text in answer.fields.items()}
    told = with_learning(said["objective"], said["learning_objective"]) if said["objective"] else ""
    return Objective(told, answer.usage)
