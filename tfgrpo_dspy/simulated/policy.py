"""Solving: the policy pi(o | q, E) of the embedded LM, with its traps and what advice does to them."""

from __future__ import annotations

import hashlib
import math
import random
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from tfgrpo_dspy.simulated.attempts import listed_attempts
from tfgrpo_dspy.simulated.families import ALL_FAMILIES
from tfgrpo_dspy.simulated.families.model import Family, Fork, Numbers, show
from tfgrpo_dspy.simulated.ideas import take_apart
from tfgrpo_dspy.simulated.prompt import Demo, Prompt
from tfgrpo_dspy.simulated.steps import steps_in
from tfgrpo_dspy.simulated.understanding import is_about, stances
from tfgrpo_dspy.simulated.world import recognise

HEEDED = 0.08
"""What a trap's chance is multiplied by when the prompt has advice that addresses it."""
MISLED = 0.5
"""Share of the remaining distance to certainty by which advice into a trap raises its chance."""
DISTRACTION = 0.002
"""Added to every trap's chance per entry of advice that says nothing about the problem at hand."""
MAX_DISTRACTION = 0.05
"""Most that distraction adds."""
DIFFICULTY = 0.8
"""Half-width of the uniform spread of difficulty over problems, in log-odds."""
SLIP = 0.02
"""Chance at the reference temperature that a result computed the right way comes out wrong by an arithmetic slip."""
REFERENCE_TEMPERATURE = 0.7
"""Temperature at which the chances above hold, and the one assumed when a request names none (paper: 0.7)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer and the reasoning that led to it."""

    reasoning: str
    answer: str
    sure: bool
    """False for a problem of no known kind, where the answer is a guess."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the prompt's advice does to one fork."""

    helps: tuple[str, ...] = ()
    """Labels, e.g. `G7`, of the advice that addresses the trap; empty strings for advice without a label."""
    misleads: tuple[str, ...] = ()
    """Labels of the advice that leads into it."""


def attempt(prompt: Prompt, text: str, temperature: float | None, rng: random.Random) -> Attempt:
    """An attempt at the problem in the text, under the advice of the prompt."""
    found = recognise(text)
    if found is None:
        return guess(text, rng)
    family, numbers = found
    heard, distraction = listen(family.name, prompt.instructions, prompt.demos)
    difficulty = difficulty_of(text)
    heat = REFERENCE_TEMPERATURE if temperature is None else temperature
    fell = set()
    for fork in family.forks:
        chance = at_temperature(fall_chance(fork.chance, heard[fork.name], distraction, difficulty), heat)
        if rng.random() < chance:
            fell.add(fork.name)
    careless = SLIP if prompt.slip is None else prompt.slip
    slip = rng.random() < careless * min(1.0, heat / REFERENCE_TEMPERATURE)
    return _write(family, numbers, frozenset(fell), heard, _Wording(text, rng if slip else None))


def explained(family: Family, numbers: Numbers, text: str) -> Attempt:
    """The attempt that falls into no trap."""
    return _write(family, numbers, frozenset(), _Forks(), _Wording(text, None))


def fall_chance(chance: float, heard: Heard, distraction: float, difficulty: float) -> float:
    """Probability of falling into a trap at the reference temperature.

    Args:
        chance: Of the fork, without advice.
        heard: Advice on this fork; advice for and against cancels out.
        distraction: Added for advice on other things.
        difficulty: Of the problem, in log-odds.
    """
    chance = _sigmoid(_log_odds(chance) + difficulty)
    if heard.helps and not heard.misleads:
        chance *= HEEDED
    elif heard.misleads and not heard.helps:
        chance += (1 - chance) * MISLED
    return min(chance + distraction, 1.0)


def at_temperature(chance: float, temperature: float) -> float:
    """The chance at a temperature: unchanged at the reference, 0 or 1 at 0, closer to even the hotter it is."""
    if chance in (0.0, 1.0) or temperature == REFERENCE_TEMPERATURE:
        return chance
    if temperature <= 0:
        return 1.0 if chance > 0.5 else 0.0  # noqa: PLR2004 - the likelier side
    return _sigmoid(_log_odds(chance) * REFERENCE_TEMPERATURE / temperature)


def _log_odds(chance: float) -> float:
    chance = min(max(chance, 1e-9), 1 - 1e-9)
    return math.log(chance / (1 - chance))


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, log_odds))))


@lru_cache(maxsize=8192)
def difficulty_of(text: str) -> float:
    """Difficulty of a problem, in log-odds within +-DIFFICULTY; a property of its text alone."""
    return DIFFICULTY * (2 * fraction_of(text, "difficulty") - 1)


def fraction_of(text: str, salt: str) -> float:
    """A number in [0, 1) that a text and a salt decide, evenly spread over texts."""
    return int.from_bytes(hashlib.blake2b(f"{salt}/{text}".encode(), digest_size=6).digest()) / 2**48


_ENTRY = re.compile(r"^\s*\[([A-Za-z]*-?\d+)\]\s+(.+)$")
_LISTED = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(.+)$")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@lru_cache(maxsize=2048)
def advice_in(text: str) -> tuple[tuple[str, str, bool], ...]:
    """The pieces of advice in a text as (label, sentence, whether it is an entry or a rule of its own)."""
    found: list[tuple[str, str, bool]] = []
    for line in text.splitlines():
        if entry := _ENTRY.match(line):
            found.append((entry[1], entry[2], True))
        elif listed := _LISTED.match(line):
            found.append(("", listed[1], True))
        elif line.strip():
            found += [("", s, bool(take_apart(s).condition)) for s in _SENTENCE.split(line.strip())]
    return tuple(found)


@lru_cache(maxsize=8192)
def listen(
    family: str, instructions: str, demos: tuple[Demo, ...], *, rules_only: bool = False
) -> tuple[dict[str, Heard], float]:
    """What advice and solved examples do to each fork of the family, and the distraction by the rest.

    With `rules_only`, plain sentences count for nothing: entries, list items and what has a condition do.
    """
    helps: dict[str, list[str]] = {}
    misleads: dict[str, list[str]] = {}
    idle = 0
    told = listed_attempts(instructions)
    earlier = tuple(Demo(text, text) for text, shown in told.attempts if not shown.is_poor)
    pieces = [
        *((label, s, rule, is_about(s, family)) for label, s, rule in advice_in(told.rest) if rule or not rules_only),
        *_shown(family, demos + earlier),
    ]
    for label, sentence, rule, about in pieces:
        said = stances(sentence, family) if about else frozenset()
        idle += rule and not said
        for stance in said:
            side = helps if stance.helps else misleads
            side.setdefault(stance.fork, []).append(label)
    forks = {name: Heard(tuple(helps.get(name, ())), tuple(misleads.get(name, ()))) for name in {*helps, *misleads}}
    return _Forks(forks), min(DISTRACTION * idle, MAX_DISTRACTION)


class _Forks(dict[str, Heard]):
    """Heard by fork; nothing for a fork that no advice speaks of."""

    def __missing__(self, name: str) -> Heard:
        return Heard()


def _shown(family: str, demos: tuple[Demo, ...]) -> list[tuple[str, str, bool, bool]]:
    """Steps of solved examples of the same family, which work like advice."""
    alike = [demo for demo in demos if (found := recognise(demo.question, ALL_FAMILIES)) and found[0].name == family]
    return [("", step.approach, False, True) for demo in alike for step in steps_in(demo.reply)]


@dataclass(frozen=True, slots=True)
class _Wording:
    """How an attempt is worded: by the question, so that attempts at one question can be compared word by word."""

    question: str
    slipping: random.Random | None
    """Set when the last calculation comes out wrong."""

    def choose(self, wordings: tuple[str, ...], salt: str) -> str:
        return wordings[int(fraction_of(self.question, salt) * len(wordings))]


def _write(family: Family, n: Numbers, fell: frozenset[str], heard: dict[str, Heard], wording: _Wording) -> Attempt:
    solution = family.solve(n, fell)
    answer = solution.answer if wording.slipping is None else _slip(solution.answer, wording.slipping)
    steps = []
    for i, (fork, calculation) in enumerate(zip(family.forks, solution.calculations, strict=True)):
        fallen = fork.name in fell
        approach = wording.choose(fork.wrong if fallen else fork.right, fork.name)
        followed = cited(heard[fork.name], fork, fallen)
        steps.append(f"{'Next' if i else 'First'}, {approach}{followed}: {calculation}.")
    kind = wording.choose(family.kinds, "kind")
    given = ", ".join(str(value) for value in n.values())
    reasoning = f"Here {kind}. The numbers are {given}. {' '.join(steps)} So the answer is {show(answer)}."
    return Attempt(reasoning, show(answer), sure=True)


def cited(heard: Heard, fork: Fork, fallen: bool) -> str:
    """The advice that a step followed, as a step shows it; empty if none."""
    labels = [label for label in (heard.misleads if fallen else heard.helps) if label]
    return f" (following [{labels[0]}])" if labels else ""


def _slip(answer: Fraction, rng: random.Random) -> Fraction:
    """A number near the right one: a digit misread or a carry forgotten."""
    off = rng.choice((1, 2, 10)) if answer > 10 else 1  # noqa: PLR2004 - a ten can only be lost where there is one
    return answer + off if rng.random() < 0.5 or answer <= off else answer - off  # noqa: PLR2004 - either way


_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")


def guess(text: str, rng: random.Random) -> Attempt:
    """An honest guess at a problem of no known kind: some plain arithmetic on the last numbers in its text."""
    numbers = [Fraction(found.replace(",", "")) for found in _NUMBER.findall(text)][-6:]
    if not numbers:
        return Attempt("I do not know this kind of task, so I cannot work it out.", "unknown", sure=False)
    if len(numbers) == 1:
        a, b = numbers[0], Fraction(2)
    else:
        a, b = rng.sample(numbers, 2)
    word, value = rng.choice((("add", a + b), ("multiply", a * b), ("subtract", abs(a - b)), ("take", a)))
    other = "" if word == "take" else f" and {show(b)}"
    reasoning = (
        f"I am not sure how to solve this. A guess is to {word} {show(a)}{other}. "
        f"So the answer is perhaps {show(value)}."
    )
    return Attempt(reasoning, show(value), sure=False)
