"""Prompts that name no output fields: told apart by what they ask for in words."""

from __future__ import annotations

import random
import re

from tfgrpo_dspy.simulated.attempts import read_attempts, reward_in
from tfgrpo_dspy.simulated.policy import attempt
from tfgrpo_dspy.simulated.prompt import Prompt, Values
from tfgrpo_dspy.simulated.reflection import FENCED, draw_lesson, outcome, said_expected
from tfgrpo_dspy.simulated.tips import write_tips

_WRITE_INSTRUCTION = re.compile(
    r"(?:write|propose|provide|generate|improve)[^.\n]{0,60}\b(?:instruction|prompt)s?\b", re.IGNORECASE
)
_GIVE_FEEDBACK = re.compile(r"\bgive (?:[a-z]+ ){0,3}(?:feedback|criticism)\b", re.IGNORECASE)
_BETWEEN_TAGS = re.compile(r"<(IMPROVED_\w+|NEW_\w+)>")
_PRESENT = (
    FENCED,
    re.compile(r"<(LM_SYSTEM_PROMPT)>((?:(?!<\1>).)*?)</\1>", re.DOTALL),
    re.compile(r"<(VARIABLE)>((?:(?!<\1>).)*?)</\1>", re.DOTALL),
)


def reply_in_words(prompt: Prompt, temperature: float | None, rng: random.Random) -> Values:
    """A rewritten text, feedback, new instructions, or an answer to a problem."""
    text = f"{prompt.instructions}\n{prompt.question}"
    if tags := _BETWEEN_TAGS.search(text):
        return {"text": f"<{tags[1]}>{_rewritten(prompt, rng)}</{tags[1]}>"}
    if _GIVE_FEEDBACK.search(prompt.question):
        return {"feedback": _feedback(prompt, rng)}
    if _WRITE_INSTRUCTION.search(text):
        return {"instruction": f"```\n{_rewritten(prompt, rng)}\n```"}
    made = attempt(prompt, prompt.question, temperature, rng)
    return {"reasoning": made.reasoning, "answer": f"Answer: {made.answer}"}


def _rewritten(prompt: Prompt, rng: random.Random) -> str:
    """The present instructions with what the attempts shown teach, or with tips where none are shown."""
    attempts = read_attempts(prompt.inputs)
    advice = draw_lesson(prompt, rng).experiences if attempts else write_tips(prompt, rng)
    return "\n".join([_present(prompt) or "Solve the task.", *(f"- {line}" for line in advice)])


def _present(prompt: Prompt) -> str:
    """The instructions that a prompt shows between fences or tags; empty if it shows none."""
    found = next((m for pattern in _PRESENT if (m := pattern.search(prompt.question))), None)
    return found.group(found.re.groups).strip() if found else ""


def _feedback(prompt: Prompt, rng: random.Random) -> str:
    """What became of the attempt shown, and what can be learned from it."""
    lesson = draw_lesson(prompt, rng)
    expected = said_expected(prompt.question) if prompt.learns != "contrast" else ""
    return " ".join([outcome(reward_in("", prompt.question), expected), lesson.comparison, *lesson.experiences])
