"""How often the intervals that people are shown hold the truth: `python -m benchmarks.coverage`.

A question's difficulty (its chance to be answered) is drawn from a beta distribution, its k rollouts are right or
wrong with that chance, or graded about it. `b` answers a question that `a` fails with a chance that makes the true gain
exact.

Verdicts are looked at where nothing is gained and rollouts are lost, the wrong ones of `b` alone in a fifth of cases.

Effects of an experience are measured inside groups of five, of which some rollouts read it. Rewards are right or wrong,
or graded between; `opposing` helps half of the questions and harms the others, `sparse` helps one question in five.
Where rollouts cite what they followed, the successful ones oftener, nothing changes: citations are not looked at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tfgrpo_dspy.statistics.estimates import mean_at_k, paired_difference
from tfgrpo_dspy.statistics.lost import Side, difference_if_lost, verdict_on
from tfgrpo_dspy.statistics.within import Split, within_groups

AIME_LIKE = (0.9, 0.4)
"""Many easy questions, some hopeless ones; mean 0.69."""
POPULATIONS = (AIME_LIKE, (2.0, 2.0), (9.0, 0.4), (0.1, 2.0))
"""The one above, a middling one, a nearly solved one (mean 0.957) and a nearly hopeless one (mean 0.048)."""

Matrix = NDArray[np.float64]
Size = tuple[int, int]
"""Questions, and rollouts of each."""
WORLDS = {
    "strong": (0.4, 0.4),
    "weak": (0.05, 0.05),
    "null": (0.0, 0.0),
    "opposing": (-0.3, 0.3),
    "sparse": (0.0, 0.0, 0.0, 0.0, 0.4),
}
"""What an experience does to the chance to be right, of questions drawn evenly from these."""
GROUP, GRADES = 5, 6.0
"""Rollouts of a group, and how narrowly graded rewards lie about their mean."""
KINDS = ("binary", "graded")
LOST = 0.2
"""Share of a candidate's wrong rollouts that are lost."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table."""

    population: tuple[float, float]
    """Parameters of the beta distribution of difficulties."""
    n: int
    """Questions."""
    k: int
    """Rollouts a question."""
    gain: float | None
    """True gain of `b` over `a`, in [0, 1]; None for the interval of a single mean."""
    coverage: float
    """Share of repeats whose interval holds the truth."""
    significant: float
    """Share of repeats whose interval leaves out 0; nan for a single mean."""
    half_width: float
    """Mean over repeats."""
    kind: str = "binary"


def measure_mean(population: tuple[float, float], size: Size, repeats: int, seed: int, kind: str = "binary") -> Cell:
    """Coverage of `mean_at_k` at 95%."""
    rng, (n, k) = np.random.default_rng(seed), size
    truth = population[0] / sum(population)
    held, width = 0, 0.0
    for _ in range(repeats):
        estimate = mean_at_k(rollouts(rng, rng.beta(*population, n), k, kind))
        held += estimate.low <= truth <= estimate.high
        width += estimate.high - estimate.low
    return Cell(population, n, k, None, held / repeats, float("nan"), width / 2 / repeats, kind)


def measure_difference(
    population: tuple[float, float], size: Size, gain: float, *, repeats: int, seed: int, kind: str = "binary"
) -> Cell:
    """Coverage and power (at gain 0: false alarms) of `paired_difference` at 95%."""
    rng, (n, k) = np.random.default_rng(seed), size
    mended = gain / (1 - population[0] / sum(population))
    held, significant, width = 0, 0, 0.0
    for _ in range(repeats):
        chance = rng.beta(*population, n)
        better = rollouts(rng, chance + mended * (1 - chance), k, kind)
        found = paired_difference(rollouts(rng, chance, k, kind), better)
        held += found.low <= gain <= found.high
        significant += found.verdict != "not distinguishable"
        width += found.high - found.low
    return Cell(population, n, k, gain, held / repeats, significant / repeats, width / 2 / repeats, kind)


def called_better(n: int, k: int, *, repeats: int, seed: int) -> tuple[float, float]:
    """How often "better" is said where nothing is gained and wrong rollouts are lost: by the rest, and as we say it."""
    rng, alone, said = np.random.default_rng(seed), 0, 0
    for _ in range(repeats):
        chance = rng.beta(*AIME_LIKE, n)
        a, made = rollouts(rng, chance, k), rollouts(rng, chance, k)
        kept = [[reward for reward in row if reward or rng.random() >= LOST] for row in made]
        if not any(kept):
            continue
        found, lost = paired_difference(a, kept), [len(x) - len(y) for x, y in zip(made, kept, strict=True)]
        alone += found.verdict == "better"
        said += verdict_on(found, difference_if_lost(Side(a, [0] * n), Side(kept, lost))) == "better"
    return alone / repeats, said / repeats


@dataclass(frozen=True, slots=True)
class Held:
    """How an effect's interval did in one world."""

    world: str
    kind: str
    n: int
    """Questions."""
    coverage: float
    significant: float
    half_width: float


def held_by_effects(world: str, n: int, kind: str, *, repeats: int, seed: int) -> Held:
    """Coverage of `within_groups` at 95%, with `kind` "binary" or "graded" rewards."""
    rng = np.random.default_rng(seed)
    truth = float(np.mean(WORLDS[world]))
    held, significant, width = 0, 0, 0.0
    for _ in range(repeats):
        found = within_groups([_group(rng, world, kind, f"e{i}") for i in range(n)])
        if found is None:
            raise ValueError("every group has both sides")
        held += found.low <= truth <= found.high
        significant += found.low > 0 or found.high < 0
        width += found.high - found.low
    return Held(world, kind, n, held / repeats, significant / repeats, width / 2 / repeats)


def _group(rng: np.random.Generator, world: str, kind: str, question: str) -> Split:
    has = np.concatenate([rng.permutation([True, False]) for _ in range(GROUP)])[:GROUP]
    base = rng.uniform(0.32, 0.58)
    chance = base + has * rng.choice(WORLDS[world])
    if kind == "binary":
        made = (rng.random(GROUP) < chance).astype(float)
    else:
        made = rng.beta(chance * GRADES, (1 - chance) * GRADES)
    return Split(question, made.tolist(), has.tolist())


def rollouts(rng: np.random.Generator, chance: Matrix, k: int, kind: str = "binary") -> list[list[float]]:
    """Rewards of 0 or 1, right with the question's chance, or graded in [0, 1] about it; k per question."""
    if kind == "graded":
        mean = np.clip(chance, 1e-3, 1 - 1e-3)[:, None]  # below that a beta distribution gives nothing but its ends
        graded: list[list[float]] = rng.beta(mean * GRADES, (1 - mean) * GRADES, (len(chance), k)).tolist()
        return graded
    drawn: list[list[float]] = (rng.random((len(chance), k)) < chance[:, None]).astype(float).tolist()
    return drawn


def table(repeats: int, seed: int, questions: Sequence[int] = (10, 30, 100)) -> Iterator[Cell]:
    """Every cell of the README's tables."""
    for kind, population, n, k in product(KINDS, POPULATIONS, questions, (1, 5, 32)):
        yield measure_mean(population, (n, k), repeats, seed, kind)
    for kind, population, n, k, gain in product(KINDS, POPULATIONS[:3], questions, (1, 5, 32), (0.0, 0.03)):
        yield measure_difference(population, (n, k), gain, repeats=repeats, seed=seed, kind=kind)


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.stdout.write(
        "| difficulty | rewards | questions x k | gain | coverage | significant | half width |\n" + "|--" * 7 + "|\n"
    )
    for cell in table(options.repeats, options.seed):
        name = "Beta({:g}, {:g})".format(*cell.population)
        gain = "(mean)" if cell.gain is None else f"{100 * cell.gain:+.0f} pp"
        significant = "" if cell.gain is None else f"{cell.significant:.3f}"
        sys.stdout.write(
            f"| {name} | {cell.kind} | {cell.n} x {cell.k} | {gain} | {cell.coverage:.3f} | {significant} "
            f"| {cell.half_width:.3f} |\n"
        )
    sys.stdout.write("\n| called better, nothing gained | without the lost | as said |\n" + "|--" * 3 + "|\n")
    for n, k in product((10, 30, 100), (1, 5)):
        alone, said = called_better(n, k, repeats=options.repeats, seed=options.seed)
        sys.stdout.write(f"| {n} x {k} | {alone:.3f} | {said:.3f} |\n")
    sys.stdout.write("\n| effect | rewards | questions | coverage | significant | half width |\n" + "|--" * 6 + "|\n")
    for world, kind, n in product(WORLDS, KINDS, (10, 30, 100)):
        held = held_by_effects(world, n, kind, repeats=options.repeats // 4, seed=options.seed)
        sys.stdout.write(
            f"| {world} | {kind} | {n} | {held.coverage:.3f} | {held.significant:.3f} | {held.half_width:.3f} |\n"
        )


if __name__ == "__main__":
    main()
