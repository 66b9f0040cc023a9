"""A whole comparison from rows to table: run them, tabulate, score the winner once more on fresh rollouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evals.harness.rows import Question, Row, RowResult
from evals.harness.running import Harness, Programs, run_rows, score_again
from evals.harness.tasks import Task
from evals.scoring.table import Line, Table, leader, tabulate, with_winner
from optimizers.registry import find_entry
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.kit import fingerprint

BASELINE = "none"


@dataclass(frozen=True, slots=True)
class Study:
    """A comparison that was run."""

    rows: tuple[Row, ...]
    results: tuple[RowResult, ...]
    """Of the same rows."""
    table: Table

    @property
    def fingerprint(self) -> str:
        """Stands for all its rows."""
        return fingerprint(*(row.fingerprint for row in self.rows))


def rows_of(
    task: Task,
    optimizers: Iterable[str],
    seeds: Iterable[int],
    *,
    calls: int | None = None,
    train: int | None = None,
    test: int | None = None,
) -> list[Row]:
    """Every optimizer of the line-up under every seed.

    Args:
        task: What they are compared on.
        optimizers: Names of the line-up, chains and what other distributions bring, in the order of the table.
        seeds: Of the training data, the optimizer and the LM.
        calls: LM calls that each may take to learn; None takes the task's budget.
        train: Only so many training examples.
        test: Only so many test questions.

    Raises:
        SettingsError: An unknown or repeated name, no name or no seed.
    """
    names, numbers = list(optimizers), list(seeds)
    if not names or not numbers:
        raise SettingsError("a comparison needs at least one optimizer and one seed")
    for name in names:
        find_entry(name)
        if names.count(name) > 1:
            raise SettingsError(f"the optimizer {name!r} is named twice; give each once, and more seeds for more runs")
    budget = task.calls if calls is None else calls
    made = (Row(task=task, optimizer=n, seed=s, calls=budget, train=train, test=test) for n in names for s in numbers)
    return list(made)


def run_study(rows: Sequence[Row], harness: Harness, baseline: str | None = None) -> Study:
    """Run the rows, or read back what is finished, and make their table.

    Args:
        rows: See `rows_of`; rows of several models or programs are made by hand.
        harness: Where and how.
        baseline: The optimizer that the others of its model and program are compared with; None takes `none` if it
            is there, else the first row's.

    Raises:
        LMError, RequestError: No row can succeed; finished ones are on disk.
        DataError: The rows do not answer the same questions.
    """
    names = [row.optimizer for row in rows]
    chosen = baseline or (BASELINE if BASELINE in names else names[0])
    programs = Programs()
    results = run_rows(rows, harness, programs)
    table = tabulate(rows, results, chosen)
    best = leader(table)
    if best is not None:
        table = with_winner(table, best, _again(rows, best, harness, programs))
    return Study(tuple(rows), tuple(results), table)


def _again(rows: Sequence[Row], line: Line, harness: Harness, programs: Programs) -> dict[int, list[Question]]:
    made = {row.seed for row in line.rows}
    chosen = [row for row in rows if row.line == line.triple and row.seed in made]
    scored = {row.seed: score_again(row, harness, programs) for row in chosen}
    return {seed: questions for seed, questions in scored.items() if questions is not None}
