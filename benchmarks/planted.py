"""A library with known parts, planted in the demo world: useful, useless and harmful experiences.

Useful ones say what the embedded LM's extractor writes of a fork, harmful ones recommend the wrong way of a fork, and
useless ones address nothing; `kinds_of` reads that from the texts with the simulation's own understanding.
"""

from __future__ import annotations

import random
from typing import Literal

from tfgrpo_dspy import ExperienceLibrary
from tfgrpo_dspy.library.section import render_section
from tfgrpo_dspy.simulated.families import FAMILIES, Family, Fork
from tfgrpo_dspy.simulated.policy import SLIP, difficulty_of, fall_chance, listen
from tfgrpo_dspy.simulated.understanding import meaning
from tfgrpo_dspy.simulated.world import Problem, make_problems, recognise

Kind = Literal["useful", "useless", "harmful"]

USELESS = (
    "Write down the given numbers before calculating.",
    "When the result is known, compare it with a rough estimate.",
    "Show every calculation on a line of its own.",
    "When a number carries a unit, keep the unit beside it.",
    "Give the final answer as a plain number.",
    "When many quantities occur, put them into a small table.",
    "When a graph is drawn, name both of its axes.",
    "Use a known formula wherever there is one.",
    "Name the unknown and set up an equation for it.",
    "When solving a problem, check the calculation carefully.",
    "When solving a problem, read the text carefully before calculating.",
    "When answering a question, make sure that the result is plausible.",
    "When a recipe is scaled, keep the proportions of its ingredients.",
    "When a triangle is drawn, label its corners clockwise.",
    "When dice are thrown, list the outcomes in order.",
    "When a date is asked for, mind leap years.",
    "When a sequence is given, look at its first members.",
    "When temperatures are compared, write them in the same scale.",
    "When a map is used, measure with a ruler.",
    "When a clock is drawn, start at the top.",
)


def plant(useful: int, useless: int, harmful: int, seed: int) -> ExperienceLibrary:
    """A library of so many of each, in random order; forks and wordings are drawn by the seed."""
    rng = random.Random(f"planted/{seed}")
    forks = [(family, fork) for family in FAMILIES for fork in family.forks]
    misled = rng.sample(FAMILIES, harmful)
    texts = [_helping(rng, *chosen) for chosen in rng.sample(forks, useful)]
    texts += rng.sample(USELESS, useless)
    texts += [_misleading(rng, family, rng.choice(family.forks)) for family in misled]
    rng.shuffle(texts)
    return ExperienceLibrary.from_texts(texts, author="import")


def kinds_of(library: ExperienceLibrary) -> dict[str, Kind]:
    """Id to what the simulation makes of the text."""
    return {experience.id: kind_of(experience.text) for experience in library}


def kind_of(text: str) -> Kind:
    """What the simulation makes of one text; one that helps with one thing and misleads in another is harmful."""
    sides = {stance.helps for stance in meaning(text)}
    return "useless" if not sides else "useful" if all(sides) else "harmful"


def _helping(rng: random.Random, family: Family, fork: Fork) -> str:
    return f"When {rng.choice(family.kinds)}, {rng.choice(fork.right)}; do not {rng.choice(fork.wrong)}."


def _misleading(rng: random.Random, family: Family, fork: Fork) -> str:
    return f"When {rng.choice(family.kinds)}, {rng.choice(fork.wrong)}."


def chance_right(problem: Problem, library: ExperienceLibrary) -> float:
    """The simulated LM's chance to be right when it reads a library."""
    found = recognise(problem.question)
    if found is None:
        raise ValueError(f"not of the demo world: {problem.question}")
    family = found[0]
    heard, distraction = listen(family.name, render_section(library.experiences), ())
    difficulty = difficulty_of(problem.question)
    right = 1.0 - SLIP
    for fork in family.forks:
        right *= 1 - fall_chance(fork.chance, heard[fork.name], distraction, difficulty)
    return right


def score(library: ExperienceLibrary, seed: int, problems: int = 400) -> float:
    """The mean of these chances over held-out problems: what Mean@k would be with endless rollouts."""
    held_out = make_problems(problems, seed, "test")
    return sum(chance_right(problem, library) for problem in held_out) / problems


def perfect() -> ExperienceLibrary:
    """The ceiling: one right tip for each trap."""
    texts = [f"When {f.kinds[0]}, {k.right[0]}; do not {k.wrong[0]}." for f in FAMILIES for k in f.forks]
    return ExperienceLibrary.from_texts(texts)
