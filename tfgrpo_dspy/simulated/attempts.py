"""Reading attempts back from prose: their rewards, the kind of task, the steps, the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tfgrpo_dspy.simulated.policy import Step, steps_in
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

    @classmethod
    def of(cls, text: str, reward: float | None = None) -> Shown:
        """What can be read from a trajectory or a summary."""
        kind, answers = _KIND.search(text), _ANSWER.findall(text)
        return cls(
            kind[1] if kind else _kind_of_task(text), tuple(steps_in(text)), answers[-1] if answers else "", reward
        )


def _kind_of_task(text: str) -> str:
    found = recognise(text)
    return found[0].kinds[0] if found else ""


def read_attempts(inputs: Mapping[str, str]) -> list[Shown]:
    """All attempts that the input fields show, with their rewards as far as they are shown."""
    for value in inputs.values():
        if headers := list(_HEADER.finditer(value)):
            ends = [header.start() for header in headers[1:]] + [len(value)]
            bodies = [value[header.end() : end] for header, end in zip(headers, ends, strict=True)]
            return [Shown.of(body, _reward_in(h[0], body)) for h, body in zip(headers, bodies, strict=True)]
    sides = [_side(inputs, "better"), _side(inputs, "worse")]
    if all(sides):
        return [Shown.of("\n".join(side.values()), read_reward(side)) for side in sides]
    alone = read_alone(inputs)
    return [alone] if alone.steps else []


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


def _reward_in(header: str, body: str) -> float | None:
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
