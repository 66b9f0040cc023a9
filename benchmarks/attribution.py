"""What an experience is worth by other methods, and in truth: all from the simulated LM's own chances to be right."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tfgrpo_dspy import ExperienceLibrary
from tfgrpo_dspy.library.section import render_section
from tfgrpo_dspy.simulated.policy import SLIP, difficulty_of, fall_chance, listen
from tfgrpo_dspy.simulated.understanding import is_about, stances
from tfgrpo_dspy.simulated.world import Problem, recognise

Values = Mapping[str, float]
"""What a method makes of each experience, by id."""


def leave_one_out(library: ExperienceLibrary, problems: Sequence[Problem], rollouts: int, rng: random.Random) -> Values:
    """The reward with all entries minus that without one, on the same problems."""
    ids = [e.id for e in library]
    asked = rng.choices(problems, k=max(rollouts // (len(ids) + 1), 1))
    whole = [draw(problem, library, ids, rng) for problem in asked]
    without = {id: [draw(problem, library, set(ids) - {id}, rng) for problem in asked] for id in ids}
    return {id: float(np.mean(whole) - np.mean(rewards)) for id, rewards in without.items()}


def shapley(library: ExperienceLibrary, problems: Sequence[Problem], rollouts: int, rng: random.Random) -> Values:
    """The mean gain of an entry over random orders in which entries are added, one problem an order."""
    gains: dict[str, list[float]] = {e.id: [] for e in library}
    for _ in range(max(rollouts // (len(library) + 1), 1)):
        problem, read = rng.choice(problems), set[str]()
        before = draw(problem, library, read, rng)
        for id in rng.sample(list(gains), len(gains)):
            read.add(id)
            after = draw(problem, library, read, rng)
            gains[id].append(after - before)
            before = after
    return {id: float(np.mean(values)) for id, values in gains.items()}


def draw(problem: Problem, library: ExperienceLibrary, read: Collection[str], rng: random.Random) -> float:
    """The reward of one rollout of the simulated LM that reads these entries."""
    return float(rng.random() < chance_right(problem, library, read))


def chance_right(problem: Problem, library: ExperienceLibrary, read: Collection[str]) -> float:
    """The simulated LM's chance to be right when it reads these entries."""
    found = recognise(problem.question)
    if found is None:
        raise ValueError(f"not of the demo world: {problem.question}")
    family = found[0]
    heard, distraction = listen(family.name, render_section([e for e in library if e.id in read]), ())
    difficulty = difficulty_of(problem.question)
    right = 1.0 - SLIP
    for fork in family.forks:
        right *= 1 - fall_chance(fork.chance, heard[fork.name], distraction, difficulty)
    return right


def true_effects(
    library: ExperienceLibrary, problems: Sequence[Problem], dropout: float, rng: random.Random, draws: int = 12
) -> Values:
    """What entries really do to the mean reward while others are withheld at random, from the LM's own chances.

    Of useless ones it is taken to be zero: the distraction by so many entries is at its bound.
    """
    ids = [e.id for e in library]
    true = dict.fromkeys(ids, 0.0)
    for problem in problems:
        about = [e.id for e in library if is_about(e.text, problem.family) and stances(e.text, problem.family)]
        for _ in range(draws):
            read = {id for id in ids if rng.random() >= dropout}
            for id in about:
                gain = chance_right(problem, library, read | {id}) - chance_right(problem, library, read - {id})
                true[id] += gain / draws / len(problems)
    return true
