"""Reading attempts back from prose: their rewards, the kind of task, the steps, the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from tfgrpo_dspy.simulated.families import ALL_FAMILIES
from tfgrpo_dspy.simulated.steps import Step, steps_in
from tfgrpo_dspy.simulated.world import answers_match, recognise

_KIND = re.compile(r"\b(?:Here|one where) ([a-z][^.:\n\d]+)\.")
_ANSWER = re.compile(
    r"(?:So the answer is|The attempt answered|\bout answer:|\banswer:)(?: perhaps)?\s*([^\s.,;]+(?:\.\d+)?)",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"^[#*\s]*(?:attempt|rollout|trajectory|candidate|sample|example|response)\s*#?\s*(?:\d+|[A-Z])\b.*$",
    re.IGNORECASE | re.MULTILINE,
)
_CLOSING = re.compile(r"^</[\w-]+>\s*$", re.MULTILINE)
_CONVERSATION = re.compile(r"<CONVERSATION>(?:(?!<CONVERSATION>).)*?</CONVERSATION>.*?(?=<CONVERSATION>|\Z)", re.DOTALL)
_REWARD = re.compile(
    r"\b(?:reward|score|earned|graded?)\b(?:\s+(?:of|is|was))?\s*[:=]?\s*(-?\d+(?:\.\d+)?)", re.IGNORECASE
)
_VERDICT = re.compile(r"\bfeedback\b(.*)", re.IGNORECASE | re.DOTALL)
_RIGHT = re.compile(r"\b(?:correct|right)\b", re.IGNORECASE)
_WRONG = re.compile(r"\b(?:incorrect|wrong|not (?:correct|right))\b", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ABOUT_IT = re.compile(r"expected|gold|label|target|feedback", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shown:
    """An attempt as a text shows it."""

    kind: str
    """The kind of task; empty if it cannot be told."""
    steps: tuple[Step, ...]
    answer: str
    """Empty if none is shown."""
    reward: float | None = None
    """None if none is shown."""

    @property
    def is_poor(self) -> bool:
        """Whether a reward is shown, and it is nearer to 0 than to 1."""
        return self.reward is not None and self.reward < 0.5  # noqa: PLR2004 - half of the usual scale

    @classmethod
    def of(cls, text: str, reward: float | None = None) -> Shown:
        """What can be read from a trajectory or a summary."""
        kind, answers = _KIND.search(text), _ANSWER.findall(text)
        return cls(
            kind[1] if kind else _kind_of_task(text), tuple(steps_in(text)), answers[-1] if answers else "", reward
        )


def _kind_of_task(text: str) -> str:
    found = recognise(text, ALL_FAMILIES)
    return found[0].kinds[0] if found else ""


class Listed(NamedTuple):
    """A text with a list of attempts in it."""

    rest: str
    """The text without them."""
    attempts: tuple[tuple[str, Shown], ...]
    """The text of each, and what it shows."""


@lru_cache(maxsize=128)  # a prompt is read several times while it is answered, and hardly again
def listed_attempts(text: str) -> Listed:
    """The attempts under headers such as `Attempt 2 (reward 1):`; the last ends with the text or at a closing tag."""
    headers = list(_HEADER.finditer(text))
    if not headers:
        return Listed(text, ())
    closing = _CLOSING.search(text, headers[-1].end())
    end = closing.start() if closing else len(text)
    ends = [header.start() for header in headers[1:]] + [end]
    bodies = [text[header.end() : stop] for header, stop in zip(headers, ends, strict=True)]
    shown = tuple((b, Shown.of(b, reward_in(h[0], b))) for h, b in zip(headers, bodies, strict=True))
    return Listed(text[: headers[0].start()] + text[end:], shown)


def read_attempts(inputs: Mapping[str, str]) -> list[Shown]:
    """All attempts that the input fields show, with their rewards as far as they are shown."""
    return [shown for _, shown in told_attempts(inputs)]


def told_attempts(inputs: Mapping[str, str]) -> list[tuple[str, Shown]]:
    """All attempts that the input fields show, each with the text that shows it."""
    for value in inputs.values():
        if attempts := listed_attempts(value).attempts:
            return list(attempts)
    sides = [_side(inputs, "better"), _side(inputs, "worse")]
    if all(sides):
        texts = ["\n".join(side.values()) for side in sides]
        return [(text, Shown.of(text, read_reward(side))) for text, side in zip(texts, sides, strict=True)]
    for value in inputs.values():
        if told := _records(value) or _CONVERSATION.findall(value):
            return [(text, Shown.of(text, reward_in("", text))) for text in told]
    alone = read_alone(inputs)
    return [("\n".join(inputs.values()), alone)] if alone.steps else []


def _records(text: str) -> list[str]:
    """The objects of a JSON list, each as `name: value` lines; none if the text is no such list."""
    try:
        found = json.loads(text) if text.lstrip().startswith("[{") else []
    except ValueError:
        return []
    return ["\n".join(_lines(record)) for record in found if isinstance(record, dict)]


def _lines(value: object, name: str = "") -> list[str]:
    if isinstance(value, dict):
        return [line for key, part in value.items() for line in _lines(part, str(key))]
    return [f"{name}: {value}"]


def read_alone(inputs: Mapping[str, str]) -> Shown:
    """The one attempt that the input fields show; what was expected or said about it is no part of it."""
    told = [value for name, value in inputs.items() if not _ABOUT_IT.search(name)]
    return Shown.of("\n".join(told), read_reward(inputs))


def _side(inputs: Mapping[str, str], side: str) -> dict[str, str]:
    return {name: value for name, value in inputs.items() if name.startswith(side)}


def judge(attempts: list[Shown], expected: str) -> list[Shown]:
    """The attempts, scored against an expected answer where they show no reward."""
    if not expected or any(shown.reward is not None for shown in attempts):
        return attempts
    return [replace(shown, reward=float(answers_match(expected, shown.answer))) for shown in attempts]


def reward_in(header: str, body: str) -> float | None:
    """The reward that a header or the text below it states, or that a verdict in words comes to; None if neither."""
    if found := _REWARD.search(header) or _REWARD.search(body):
        return float(found[1])
    said = _VERDICT.search(body)
    if said is None:
        return None
    if _WRONG.search(said[1]):
        return 0.0
    return 1.0 if _RIGHT.search(said[1]) else None


def read_reward(inputs: Mapping[str, str]) -> float | None:
    """The number in the field that is named for a reward or score; None if there is none."""
    for name, value in inputs.items():
        if re.search(r"reward|score", name, re.IGNORECASE) and (found := _NUMBER.search(value)):
            return float(found[0])
    return None
