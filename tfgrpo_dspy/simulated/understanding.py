"""What advice means for a family of problems: which of its forks it addresses, and to which side it leads."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tfgrpo_dspy.simulated.families import ALL_FAMILIES
from tfgrpo_dspy.simulated.families.model import Family, Fork
from tfgrpo_dspy.simulated.ideas import expresses, is_general, take_apart


class Stance(NamedTuple):
    """One thing that a piece of advice says about one fork."""

    family: str
    fork: str
    helps: bool
    """Whether it leads to the right side."""
    by_example: bool
    """Whether it says what to do; False when it says what not to do."""


@lru_cache(maxsize=65536)
def is_about(advice: str, family: str) -> bool:
    """Whether the condition of the advice fits the family, or is so general that it fits all."""
    condition = take_apart(advice).condition
    return expresses(condition, FAMILY[family].topic) or (is_general(condition) and not _topics(condition))


@lru_cache(maxsize=65536)
def stances(advice: str, family: str) -> frozenset[Stance]:
    """What a sentence says about a family's forks, its condition left aside."""
    said = take_apart(advice)
    found = (_stances_on(fork, family, said.wanted, said.unwanted) for fork in FAMILY[family].forks)
    return frozenset().union(*found)


def _stances_on(fork: Fork, family: str, wanted: str, unwanted: str) -> set[Stance]:
    found = set()
    if expresses(wanted, fork.remedy):
        found.add(Stance(family, fork.name, helps=True, by_example=True))
    elif expresses(wanted, fork.lure):
        found.add(Stance(family, fork.name, helps=False, by_example=True))
    if unwanted and expresses(unwanted, fork.lure):
        found.add(Stance(family, fork.name, helps=True, by_example=False))
    elif unwanted and expresses(unwanted, fork.remedy):
        found.add(Stance(family, fork.name, helps=False, by_example=False))
    return found


@lru_cache(maxsize=65536)
def meaning(advice: str) -> frozenset[Stance]:
    """All that a piece of advice says about the kinds of problems it is about; empty for vague advice."""
    return frozenset().union(*(stances(advice, f.name) for f in ALL_FAMILIES if is_about(advice, f.name)))


@lru_cache(maxsize=8192)
def _topics(text: str) -> tuple[str, ...]:
    return tuple(f.name for f in ALL_FAMILIES if expresses(text, f.topic)) if text else ()


def family_of(description: str) -> Family | None:
    """The family that a description such as "two discounts are taken one after the other" fits; None if none does."""
    for family in ALL_FAMILIES:
        if description in family.kinds:
            return family
    names = _topics(description)
    return FAMILY[names[0]] if names else None


FAMILY = {family.name: family for family in ALL_FAMILIES}
