"""Judging answers without being told what is right: solving the task once more, and comparing.

Such a judge shares the policy's traps, so what most attempts get wrong it mostly takes for right.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tfgrpo_dspy.simulated.attempts import Shown, judge, listed_attempts
from tfgrpo_dspy.simulated.policy import attempt
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.reflection import contrast, outcome, phrase
from tfgrpo_dspy.simulated.world import answers_match

_EXPECTED = re.compile(r"expected|gold|reference|label", re.IGNORECASE)


class Opinion(NamedTuple):
    """What a judge thinks of an attempt."""

    agrees: bool
    critique: str


def criticise(prompt: Prompt, shown: Shown, temperature: float | None, rng: random.Random) -> Opinion:
    """An opinion on the shown attempt.

    It goes by the expected answer or the reward if one is shown, else by an attempt of its own: whether that comes to
    the same answer, and where the two part.
    """
    expected = next((value for name, value in prompt.inputs.items() if _EXPECTED.search(name)), "")
    told = judge([shown], expected)[0]
    if told.reward is not None:
        return Opinion(not told.is_poor, outcome(told.reward, expected))
    own = _own(prompt, temperature, rng)
    if not own.answer or answers_match(own.answer, shown.answer):
        return Opinion(True, "I come to the same answer and find no mistake.")
    advice = [phrase(d, 60) for d in contrast([_scored(own, 1.0), _scored(shown, 0.0)])]
    return Opinion(False, "\n".join(advice) or f"I come to another answer, {own.answer}; check each calculation.")


def choose(prompt: Prompt, attempts: Sequence[Shown], temperature: float | None, rng: random.Random) -> int:
    """Number of the best attempt, from 1: one that agrees with one's own, else one of the most common answer."""
    own = _own(prompt, temperature, rng)
    counts = Counter(shown.answer for shown in attempts)
    wanted = own.answer if own.answer in counts else counts.most_common(1)[0][0]
    return next(i for i, shown in enumerate(attempts, 1) if shown.answer == wanted)


def cited(shown: Sequence[Shown], *, helpful: bool) -> list[str]:
    """Labels of the advice that attempts followed, by how those turned out; without a reward nothing is told."""
    told = [a for a in shown if a.reward is not None and (not a.is_poor) == helpful]
    return list(dict.fromkeys(step.followed for a in told for step in a.steps if step.followed))


def _own(prompt: Prompt, temperature: float | None, rng: random.Random) -> Shown:
    """An attempt of the judge's own at the task shown."""
    made = attempt(prompt, _task(prompt), temperature, rng)
    return Shown.of(made.reasoning) if made.sure else Shown("", (), "")


def _task(prompt: Prompt) -> str:
    """What the inputs show besides attempts; a task shown with its attempt is recognised there as well."""
    return "\n".join(listed_attempts(value).rest for value in prompt.inputs.values())


def _scored(shown: Shown, reward: float) -> Shown:
    return replace(shown, reward=reward)
