"""How often the intervals of `tfgrpo_dspy.statistics.estimates` hold the truth: `python -m benchmarks.coverage`.

A question's difficulty (its chance to be answered) is drawn from a beta distribution, its k rollouts are right or
wrong with that chance. `b` answers a question that `a` fails with a chance that makes the true gain exact.
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

AIME_LIKE = (0.9, 0.4)
"""Many easy questions, some hopeless ones; mean 0.69."""
POPULATIONS = (AIME_LIKE, (2.0, 2.0), (9.0, 0.4), (0.1, 2.0))
"""The one above, a middling one, a nearly solved one (mean 0.957) and a nearly hopeless one (mean 0.048)."""

Matrix = NDArray[np.float64]


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


def measure_mean(population: tuple[float, float], n: int, k: int, repeats: int, seed: int) -> Cell:
    """Coverage of `mean_at_k` at 95%."""
    rng = np.random.default_rng(seed)
    truth = population[0] / sum(population)
    held, width = 0, 0.0
    for _ in range(repeats):
        estimate = mean_at_k(rollouts(rng, rng.beta(*population, n), k))
        held += estimate.low <= truth <= estimate.high
        width += estimate.high - estimate.low
    return Cell(population, n, k, None, held / repeats, float("nan"), width / 2 / repeats)


def measure_difference(
    population: tuple[float, float], n: int, k: int, gain: float, *, repeats: int, seed: int
) -> Cell:
    """Coverage and power (at gain 0: false alarms) of `paired_difference` at 95%."""
    rng = np.random.default_rng(seed)
    mended = gain / (1 - population[0] / sum(population))
    held, significant, width = 0, 0, 0.0
    for _ in range(repeats):
        chance = rng.beta(*population, n)
        found = paired_difference(rollouts(rng, chance, k), rollouts(rng, chance + mended * (1 - chance), k))
        held += found.low <= gain <= found.high
        significant += found.verdict != "not distinguishable"
        width += found.high - found.low
    return Cell(population, n, k, gain, held / repeats, significant / repeats, width / 2 / repeats)


def rollouts(rng: np.random.Generator, chance: Matrix, k: int) -> list[list[float]]:
    """Rewards of 0 or 1, k per question, right with the question's chance."""
    drawn: list[list[float]] = (rng.random((len(chance), k)) < chance[:, None]).astype(float).tolist()
    return drawn


def table(repeats: int, seed: int, questions: Sequence[int] = (30, 60)) -> Iterator[Cell]:
    """Every cell of the README's tables."""
    for population, n, k in product(POPULATIONS, questions, (1, 5, 32)):
        yield measure_mean(population, n, k, repeats, seed)
    for population, n, k, gain in product(POPULATIONS[:3], questions, (1, 5, 32), (0.0, 0.03)):
        yield measure_difference(population, n, k, gain, repeats=repeats, seed=seed)


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.stdout.write(
        "| difficulty | questions x k | gain | coverage | significant | half width |\n" + "|--" * 6 + "|\n"
    )
    for cell in table(options.repeats, options.seed):
        name = "Beta({:g}, {:g})".format(*cell.population)
        gain = "(mean)" if cell.gain is None else f"{100 * cell.gain:+.0f} pp"
        significant = "" if cell.gain is None else f"{cell.significant:.3f}"
        sys.stdout.write(
            f"| {name} | {cell.n} x {cell.k} | {gain} | {cell.coverage:.3f} | {significant} | {cell.half_width:.3f} |\n"
        )


if __name__ == "__main__":
    main()
