"""The demo world: problems in natural language with real arithmetic, and reading them back.

The same families serve two ends. `make_problems` writes questions with their answers; `recognise` reads a question
back into its family and numbers, which is all that the embedded LM ever gets to see.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, combinations
from typing import TYPE_CHECKING, Literal

from tfgrpo_dspy.simulated.families import FAMILIES
from tfgrpo_dspy.simulated.families.habits import SHAPELESS
from tfgrpo_dspy.simulated.families.model import Family, Numbers, is_neat, show

if TYPE_CHECKING:
    import dspy

Split = Literal["train", "test"]

_MAX_DRAWS = 20_000
"""Draws for one problem before a family is taken for exhausted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, its answer and the family it is from."""

    question: str
    answer: str
    """A number with at most two decimals."""
    family: str


def make_problems(n: int, seed: int, split: Split = "train", families: Sequence[Family] = FAMILIES) -> list[Problem]:
    """Problems balanced over the families (counts differ by one at most), none twice.

    Args:
        n: How many, >= 0.
        seed: The same seed gives the same list.
        split: No question of one split is ever in the other, whatever the seeds.
        families: What the problems are about.

    Raises:
        ValueError: An unknown split, or n beyond what the families can phrase.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    rng = random.Random(f"{seed}/{split}")
    problems: list[Problem] = []
    seen: set[str] = set()
    while len(problems) < n:
        for family in rng.sample(families, len(families)):
            problems.append(_new_problem(family, rng, split, seen))
    return problems[:n]


def demo_examples(n: int, seed: int, split: Split = "train") -> list[dspy.Example]:
    """The problems of `make_problems` as DSPy examples with the input `question` and the label `answer`."""
    import dspy

    return [
        dspy.Example(question=p.question, answer=p.answer).with_inputs("question")
        for p in make_problems(n, seed, split)
    ]


def _new_problem(family: Family, rng: random.Random, split: Split, seen: set[str]) -> Problem:
    for _ in range(_MAX_DRAWS):
        numbers = family.draw(rng)
        question = family.phrase(rng, numbers)
        if question not in seen and split_of(question) == split and _is_sound(family, numbers):
            seen.add(question)
            return Problem(question, show(family.solve(numbers, frozenset()).answer), family.name)
    raise ValueError(
        f"the family {family.name!r} has no further {split} problem after {_MAX_DRAWS} draws; ask for fewer"
    )


def split_of(question: str) -> Split:
    """The split that a question belongs to, by a hash of its text."""
    return "test" if hashlib.blake2b(question.encode(), digest_size=1).digest()[0] % 2 else "train"


def _is_sound(family: Family, numbers: Numbers) -> bool:
    """The answer is neat and positive, and no way of going wrong arrives at it."""
    right = family.solve(numbers, frozenset()).answer
    names = [fork.name for fork in family.forks if fork.name not in SHAPELESS]
    ways = chain.from_iterable(combinations(names, k) for k in range(1, len(names) + 1))
    wrongs = [family.solve(numbers, frozenset(way)).answer for way in ways]
    return (
        is_neat(right) and right >= 0 and all(wrong >= 0 and abs(wrong - right) >= Fraction(1, 10) for wrong in wrongs)
    )


@lru_cache(maxsize=8192)
def recognise(text: str, families: tuple[Family, ...] = FAMILIES) -> tuple[Family, Numbers] | None:
    """The first of the families with a question in the text, and its numbers; None when there is none."""
    flat = " ".join(text.split())
    for family in families:
        numbers = family.read(flat)
        if numbers is not None:
            return family, numbers
    return None


_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


def answers_match(expected: str | float, given: object) -> bool:
    """Whether the last number in a given answer equals the expected number, to half a hundredth.

    >>> answers_match("264", "The new price is $264.00.")
    True
    """
    wanted, found = (_NUMBER.findall(str(value)) for value in (expected, given))
    if not wanted or not found:
        return False
    return abs(float(wanted[-1].replace(",", "")) - float(found[-1].replace(",", ""))) <= 0.005  # noqa: PLR2004 - half of the last digit shown
