"""One frozen LM plays every role: what a prompt asks for is told from its fields and instructions alone."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tfgrpo_dspy.simulated.policy import Attempt, attempt
from tfgrpo_dspy.simulated.prompt import OutputField, Prompt, Values, write_reply
from tfgrpo_dspy.simulated.world import answers_match

_THOUGHT = re.compile(r"reason|thought|rationale|explan|steps|working|analysis|think", re.IGNORECASE)
_CONCLUSION = re.compile(r"So the answer is (?:perhaps )?(-?[\d.,]*\d)")

Role = Callable[[Prompt, float | None, random.Random], Values]


def reply_to(prompt: Prompt, temperature: float | None, rng: random.Random) -> str:
    """The reply to a prompt, in the format that it asks for."""
    return write_reply(prompt, _solve(prompt, temperature, rng))


def _solve(prompt: Prompt, temperature: float | None, rng: random.Random) -> Values:
    made = attempt(prompt, prompt.question, temperature, rng)
    if not prompt.outputs:
        return {"reasoning": made.reasoning, "answer": f"Answer: {made.answer}"}
    return {field.name: _value(field, made) for field in prompt.outputs}


def _value(field: OutputField, made: Attempt) -> object:
    return made.reasoning if _THOUGHT.search(field.name) else made.answer
