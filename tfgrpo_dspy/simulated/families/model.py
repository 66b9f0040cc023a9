"""What a family of problems is: phrasings that can be read back, a way to solve, and forks where one can go wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from tfgrpo_dspy.simulated.ideas import Idea

Numbers = Mapping[str, int]
"""The numbers of a problem by the names they have in its phrasings."""


class Solution(NamedTuple):
    """A computed answer and how it came about."""

    answer: Fraction
    calculations: tuple[str, ...]
    """One for every fork of the family, in order."""


Solve = Callable[[Numbers, frozenset[str]], Solution]
"""(numbers, names of the forks taken wrongly) -> solution."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A step that can be taken rightly or wrongly: a trap with its remedy."""

    name: str
    chance: float
    """Probability of the wrong way at the reference temperature, without advice, at mean difficulty."""
    right: tuple[str, ...]
    """Wordings of the right step, imperative."""
    wrong: tuple[str, ...]
    """Wordings of the wrong step."""
    remedy: Idea
    """What advice must recommend to address the trap."""
    lure: Idea
    """What advice must recommend to lead into the trap, or forbid to address it."""


@dataclass(frozen=True, eq=False)
class Family:
    """A kind of problem in natural language with real arithmetic."""

    name: str
    kinds: tuple[str, ...]
    """How a reader describes it: completes "When ..."."""
    topic: Idea
    """What a condition must express to be about it."""
    phrasings: tuple[str, ...]
    """Texts with `{field}` for a number, or for a word when `words` has the field."""
    draw: Callable[[random.Random], dict[str, int]]
    """Numbers of a new problem."""
    solve: Solve
    forks: tuple[Fork, ...]
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """One per phrasing, to read a question back into its fields, with a piece of text that it must hold."""
        return tuple((_landmark(phrasing), _pattern(phrasing, self.words)) for phrasing in self.phrasings)

    def phrase(self, rng: random.Random, numbers: Numbers) -> str:
        """A question with the given numbers, in one of the phrasings."""
        fields: dict[str, object] = dict(numbers)
        for name, choices in self.words.items():
            fields[name] = rng.choice([c for c in choices if c not in fields.values()])
        return rng.choice(self.phrasings).format(**fields)

    def read(self, text: str) -> dict[str, int] | None:
        """The numbers of a question of this family found in the text; None if there is none."""
        for landmark, pattern in self.patterns:
            if landmark in text and (match := pattern.search(text)):
                fields = match.groupdict()
                return {name: int(fields[name].replace(",", "")) for name in fields if name not in self.words}
        return None


_FIELD = re.compile(r"\\\{(\w+)\\\}")
_NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"
_WORDS = r"[A-Za-z][A-Za-z' -]{0,30}?"


def _landmark(phrasing: str) -> str:
    """The longest piece of a phrasing between two fields; looking for it first spares most searches."""
    return max(re.split(r"\{\w+\}", phrasing), key=len)


def _pattern(phrasing: str, words: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """The regular expression of a phrasing: a named group per field, a back reference where a field returns."""
    seen: set[str] = set()

    def group(found: re.Match[str]) -> str:
        name = found[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{_WORDS if name in words else _NUMBER})"

    return re.compile(_FIELD.sub(group, re.escape(phrasing).replace(r"\ ", " ")))


def show(value: Fraction | int) -> str:
    """A number as people write it: whole, or with at most two decimals.

    >>> show(Fraction(5, 2))
    '2.5'
    """
    value = Fraction(value)
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.2f}".rstrip("0").rstrip(".")


def is_neat(value: Fraction) -> bool:
    """Whether `show` loses nothing."""
    return (value * 100).denominator == 1


NAMES = (
    "Ada", "Ben", "Carla", "David", "Elif", "Farid", "Grace", "Hana", "Ivan", "Julia", "Karim", "Lena", "Marco", "Nora",
    "Omar", "Paula", "Quinn", "Rosa", "Samir", "Tara", "Uma", "Victor", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
