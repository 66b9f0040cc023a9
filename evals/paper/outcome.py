"""A table that was run: its rows' results, cut into the benchmarks that the paper reports apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evals.harness.rows import Row, RowResult
from evals.harness.running import Harness, Programs, run_rows
from evals.paper.optimizers import FromElsewhere
from evals.paper.rows import PartPlan
from evals.paper.tables import PROGRAMS, RL_TRAINED, Column, PaperTable
from evals.scoring.gains import pass_over_seeds
from evals.scoring.study import BASELINE, Study
from evals.scoring.table import Line as Measured
from evals.scoring.table import Table, tabulate
from tfgrpo_dspy import Estimate


@dataclass(frozen=True, slots=True)
class Part:
    """One domain of a table, run."""

    plan: PartPlan
    study: Study
    """All its test questions together."""

    def table_of(self, test: str) -> Table:
        """The rows' scores on one of the domain's tests alone."""
        chosen = self.plan.sets.of(test)
        cut = [replace(result, questions=result.questions[chosen]) for result in self.study.results]
        return tabulate(self.study.rows, cut, BASELINE)

    def measured(self, table: Table, line: int) -> Measured | None:
        """The line of a table that belongs to a line of the paper's; None if it was not run."""
        rows = self.plan.of_line.get(line)
        return None if not rows else next(found for found in table.lines if found.triple == rows[0].line)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A table of the paper, run."""

    table: PaperTable
    parts: tuple[Part, ...]

    @property
    def simulated(self) -> bool:
        """Whether any figure is of the embedded LM."""
        return any(part.study.table.simulated for part in self.parts)

    def label_of(self, part: Part, line: int) -> str:
        """What a line of ours is called where its figures stand alone: by the model that answered, not the paper's."""
        measured = part.measured(part.study.table, line)
        if measured is None or self.table.lines[line].model in RL_TRAINED:
            return self.table.labels[line]
        programs = {other.program for other in self.table.lines}
        program = [PROGRAMS[self.table.lines[line].program]] if len(programs) > 1 else []
        return ", ".join([measured.triple[0], *program, self.table.lines[line].title])

    def part_of(self, column: Column) -> Part:
        """The domain that a column is of."""
        return next(part for part in self.parts if part.plan.domain == column.domain)


def run_table(table: PaperTable, plans: Sequence[PartPlan], harness: Harness) -> Outcome:
    """Run what is not on disk yet; rows that carry a library over come after those it is from.

    Raises:
        LMError, RequestError: No row can succeed.
    """
    rows = sorted((row for plan in plans for row in plan.rows), key=lambda row: isinstance(row.make, FromElsewhere))
    found = run_rows(rows, harness, Programs())
    results = {row.fingerprint: result for row, result in zip(rows, found, strict=True)}
    return Outcome(table, tuple(_part(plan, results) for plan in plans))


def score_of(measured: Measured | None, column: Column, k: int) -> Estimate | None:
    """What a column shows of a line with k rollouts per question; None if there is no score."""
    if measured is None or not measured.rows or column.passing is None:
        return None if measured is None else measured.mean
    return pass_over_seeds([row.rewards for row in measured.rows], passing_of(column, k))


def passing_of(column: Column, k: int) -> int:
    """The k of a column's Pass@k: the paper's, or fewer where fewer rollouts were made."""
    return min(column.passing or k, k)


def _part(plan: PartPlan, results: Mapping[str, RowResult]) -> Part:
    rows: tuple[Row, ...] = plan.rows
    chosen = tuple(results[row.fingerprint] for row in rows)
    return Part(plan, Study(rows, chosen, tabulate(rows, chosen, BASELINE)))
