"""The line-up on the demo world: same student, same data, one table. Everything here is simulated.

Run it with `python -m evals.recipes.demo --optimizers none,tfgrpo --seeds 3`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import dspy
from rich.console import Console
from rich.table import Table

from optimizers.registry import LINE_UP, make_optimizer
from programs.demo_world import solver
from tfgrpo_dspy import Comparison, Evaluation, compare, evaluate
from tfgrpo_dspy.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

TRAIN, TEST, K = 60, 60, 5


@dataclass(frozen=True, slots=True)
class Row:
    """One optimizer under one seed."""

    optimizer: str
    seed: int
    learned: Evaluation
    against_none: Comparison


def run(optimizers: Sequence[str], seeds: Sequence[int]) -> list[Row]:
    """Compile the demo student with every optimizer under every seed, and compare each with the student as it is."""
    rows = []
    for seed in seeds:
        train, test = demo_examples(TRAIN, seed, "train"), demo_examples(TEST, seed, "test")
        with dspy.context(lm=simulated_lm(seed=seed)):
            baseline = evaluate(solver, test, number, k=K)
            for name in optimizers:
                compiled = make_optimizer(name, number, seed).compile(solver, trainset=train)
                learned = evaluate(compiled, test, number, k=K)
                rows.append(Row(name, seed, learned, compare(baseline, learned)))
    return rows


def as_table(rows: Sequence[Row]) -> Table:
    """The rows as a person reads them: score, paired gain and what the interval allows to say."""
    table = Table(box=None, title=f"demo world, simulated LM: Mean@{K} on {TEST} held-out problems, 95% intervals")
    for heading in ("optimizer", "seed", f"Mean@{K}", "gain over none, paired", "p", "verdict"):
        table.add_column(heading)
    for row in rows:
        mean, gain = row.learned.mean, row.against_none.difference
        table.add_row(
            row.optimizer,
            str(row.seed),
            f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]",
            f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]",
            "< 0.001" if gain.p_value < 0.001 else f"{gain.p_value:.3f}",
            gain.verdict,
        )
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--optimizers", default="none,tfgrpo,bootstrap-fewshot", help=f"of: {', '.join(LINE_UP)}")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    given = parser.parse_args(arguments)
    Console().print(as_table(run(given.optimizers.split(","), range(given.seeds))))


if __name__ == "__main__":
    main()
