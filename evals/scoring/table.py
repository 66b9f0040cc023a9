"""The table of a comparison: an optimizer's rows under all seeds become a line, with statistics over all lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from evals.harness.rows import Question, Row, RowResult, Took
from evals.scoring.gains import (
    BySeed,
    Gain,
    gains_over_seeds,
    holm,
    holm_levels,
    mean_over_seeds,
    pass_over_seeds,
    winner,
)
from tfgrpo_dspy import DataError, Estimate

LEVEL = 0.95

Verdict = Literal["baseline", "better", "worse", "not distinguishable", "failed"]
Triple = tuple[str, str, str]
"""Model, program, optimizer."""


@dataclass(frozen=True, slots=True)
class Line:
    """One (model, program, optimizer) of the table, over its seeds."""

    triple: Triple
    label: str
    """The parts of the triple in which the lines of this table differ."""
    rows: tuple[RowResult, ...]
    """Those with a score, in the order of seeds."""
    failures: tuple[RowResult, ...]
    mean: Estimate | None
    """Mean@k over seeds and questions, with an interval over questions; None if every seed failed."""
    by_seed: tuple[float, ...]
    """Mean@k of each row."""
    passed: Estimate | None
    """Unbiased Pass@k."""
    gain: Gain | None = None
    """Over the baseline of the same model and program; None for the baseline itself."""
    p_holm: float | None = None
    """The gain's p-value, corrected for all comparisons of the table."""
    is_baseline: bool = False

    @property
    def optimizer(self) -> str:
        """Its name in the line-up."""
        return self.triple[2]

    @property
    def verdict(self) -> Verdict:
        """What may be said of the line, after correction for several comparisons."""
        if self.mean is None:
            return "failed"
        if self.gain is None or self.p_holm is None:
            return "baseline" if self.is_baseline else "not distinguishable"
        if self.p_holm >= 1 - LEVEL:
            return "not distinguishable"
        return "better" if self.gain.difference.value > 0 else "worse"

    @property
    def training(self) -> Took:
        """Of all seeds together."""
        return sum((row.training for row in self.rows), Took())

    @property
    def evaluation(self) -> Took:
        """Of all seeds together."""
        return sum((row.evaluation for row in self.rows), Took())

    @property
    def rollouts(self) -> int:
        """Scored rollouts of the evaluation, all seeds together."""
        return sum(len(question.rewards) for row in self.rows for question in row.questions)

    @property
    def tool_calls(self) -> float:
        """Tool calls per scored rollout."""
        calls = [number for row in self.rows for question in row.questions for number in question.tool_calls]
        return fmean(calls) if calls else 0.0

    @property
    def failed(self) -> int:
        """Rollouts that the program failed: scored, and not the same as a wrong answer."""
        return sum(row.failed for row in self.rows)

    @property
    def lost(self) -> Counter[str]:
        """Rollouts that did not happen, by cause."""
        return sum((row.lost for row in self.rows), Counter())

    @property
    def best(self) -> RowResult | None:
        """The row of the highest Mean@k; None if every seed failed."""
        scored = dict(zip((row.fingerprint for row in self.rows), self.by_seed, strict=True))
        chosen = winner(scored)
        return next((row for row in self.rows if row.fingerprint == chosen), None)


@dataclass(frozen=True, slots=True)
class Winner:
    """The line of the highest score, scored again on fresh rollouts: the first score was picked for being high."""

    line: Line
    mean: Estimate
    """On the fresh rollouts."""
    gain: Gain | None
    """Of the fresh rollouts over the baseline; None if the baseline itself won."""
    runner_up: Line | None = None
    ahead: Gain | None = None
    """Of the fresh rollouts over the runner-up's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A finished comparison."""

    title: str
    simulated: bool
    k: int
    questions: int
    seeds: tuple[int, ...]
    calls: int | None
    """LM calls that each optimizer might take to learn; None for its own settings."""
    lines: tuple[Line, ...]
    winner: Winner | None = None

    @property
    def baseline(self) -> Line | None:
        """The first baseline; None if there is none."""
        return next((line for line in self.lines if line.is_baseline), None)

    @property
    def ranked(self) -> tuple[Line, ...]:
        """Baselines first, then by Mean@k, the highest first; what failed comes last."""
        return tuple(sorted(self.lines, key=lambda e: (not e.is_baseline, -e.mean.value if e.mean else float("inf"))))

    @property
    def failures(self) -> tuple[RowResult, ...]:
        """Rows without a score."""
        return tuple(row for line in self.lines for row in line.failures)

    @property
    def comparisons(self) -> int:
        """How many gains were tested."""
        return sum(line.p_holm is not None for line in self.lines)


def tabulate(rows: Sequence[Row], results: Sequence[RowResult], baseline: str) -> Table:
    """The table of these rows.

    Args:
        rows: All of one task (models and programs may differ) and one test set.
        results: Of these rows, in the same order.
        baseline: The optimizer whose line the others of the same model and program are compared with.

    Raises:
        DataError: The rows do not answer the same questions.
    """
    if not rows:
        raise DataError("a table needs at least one row")
    first = rows[0]
    if len({row.identity["testset"] for row in rows}) > 1 or len({row.task.k for row in rows}) > 1:
        raise DataError("a table compares rows on one test set with one k; run the others as a table of their own")
    triples = list(dict.fromkeys(result.line for result in results))
    names = _labels(triples)
    k = first.task.k
    lines = [_line(triple, names[triple], [r for r in results if r.line == triple], k, baseline) for triple in triples]
    return Table(
        title=first.task.title,
        simulated=any(row.task.simulated for row in rows),
        k=k,
        questions=len(first.data.test),
        seeds=tuple(dict.fromkeys(row.seed for row in rows)),
        calls=first.calls,
        lines=tuple(_with_gains(lines)),
    )


def leader(table: Table) -> Line | None:
    """The line of the highest Mean@k among those compared with a baseline; None if there is nothing to choose from."""
    means = {line.label: line.mean.value for line in table.lines if line.mean is not None}
    if len(means) < 2 or not table.comparisons:  # noqa: PLR2004 - a choice is between two
        return None
    best = winner(means)
    return next(line for line in table.lines if line.label == best)


def with_winner(table: Table, line: Line, again: Mapping[int, Sequence[Question]]) -> Table:
    """The table with its winner's scores on fresh rollouts, by seed; unchanged if a seed is missing."""
    if any(row.seed not in again for row in line.rows):
        return table
    fresh: BySeed = [[question.rewards for question in again[row.seed]] for row in line.rows]
    base = next((other for other in table.lines if other.is_baseline and other.triple[:2] == line.triple[:2]), None)
    others = {other.label: other.mean.value for other in table.lines if other is not line and other.mean is not None}
    second = next((other for other in table.lines if other.label == winner(others)), None)
    gain, ahead = _gains_of(table, line, fresh, (base, second))
    if second is base or ahead is None:
        second, ahead = None, None
    return replace(table, winner=Winner(line, mean_over_seeds(fresh), gain, second, ahead))


def _gains_of(
    table: Table, line: Line, fresh: BySeed, others: tuple[Line | None, Line | None]
) -> tuple[Gain | None, Gain | None]:
    """Gains of fresh rollouts over two other lines; what seeds add is estimated from the whole table, as elsewhere."""
    known = list(_pairs(table.lines).values())
    again = dict(zip((row.seed for row in line.rows), fresh, strict=True))
    found: list[Gain | None] = []
    for other in others:
        before = {} if other is None or other is line else {row.seed: row.rewards for row in other.rows}
        shared = [seed for seed in again if seed in before]
        pair = [before[seed] for seed in shared], [again[seed] for seed in shared]
        found.append(gains_over_seeds([*known, pair], level=LEVEL)[-1] if shared else None)
    return found[0], found[1]


def _line(triple: Triple, label: str, results: Sequence[RowResult], k: int, baseline: str) -> Line:
    scored = tuple(result for result in results if result.error is None)
    failures = tuple(result for result in results if result.error is not None)
    rewards = [result.rewards for result in scored]
    return Line(
        triple=triple,
        label=label,
        rows=scored,
        failures=failures,
        mean=mean_over_seeds(rewards) if rewards else None,
        by_seed=tuple(mean_over_seeds([seed]).value for seed in rewards),
        passed=pass_over_seeds(rewards, k) if rewards else None,
        is_baseline=triple[2] == baseline,
    )


def _with_gains(lines: Sequence[Line]) -> list[Line]:
    """The lines with their gains over the baseline of their model and program, corrected for being several."""
    pairs = _pairs(lines)
    tables = list(pairs.values())
    p_values = [gain.difference.p_value for gain in gains_over_seeds(tables, level=LEVEL)]
    corrected = dict(zip(pairs, holm(p_values), strict=True))
    shown = gains_over_seeds(tables, level=LEVEL, levels=holm_levels(p_values, LEVEL))
    gains = dict(zip(pairs, shown, strict=True))
    return [replace(line, gain=gains.get(line.triple), p_holm=corrected.get(line.triple)) for line in lines]


def _pairs(lines: Sequence[Line]) -> dict[Triple, tuple[BySeed, BySeed]]:
    """Each line's baseline and its own rewards, on the seeds that both have."""
    bases = {line.triple[:2]: {row.seed: row.rewards for row in line.rows} for line in lines if line.is_baseline}
    pairs: dict[Triple, tuple[BySeed, BySeed]] = {}
    for line in lines:
        base = bases.get(line.triple[:2], {})
        shared = [row for row in line.rows if row.seed in base]
        if shared and not line.is_baseline:
            pairs[line.triple] = [base[row.seed] for row in shared], [row.rewards for row in shared]
    return pairs


def _labels(triples: Sequence[Triple]) -> dict[Triple, str]:
    """What tells the lines apart, and the optimizer in any case."""
    differ = [len({triple[at] for triple in triples}) > 1 for at in range(2)]
    return {
        triple: ", ".join([*(part for part, shown in zip(triple, differ, strict=False) if shown), triple[2]])
        for triple in triples
    }
