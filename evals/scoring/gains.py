"""Statistics of a whole table: gains over training seeds, corrections for many comparisons, what could be seen; pure.

Two things are samples here: the *questions* of the test set, and the *training seeds*, each of which gave a program of
its own. Every optimizer answers the same questions under the same seeds, so seeds and questions are crossed, and the
difference of one seed on one question is a cell of a table. A gain is the mean of that table. Its variance is

    V_questions + max(0, excess),     excess = mean over the optimizers of (V_seeds - V_cells)

where each V is the variance of the mean that the question means, the seed means and what is left of the cells suggest.
Luck within a cell is in both of the first two, so it is taken out once. Two or three seeds of one optimizer say little
about how much seeds matter, so the excess is taken from all optimizers of the table together, as an analysis of
variance would, but for one whose seeds differ more than the others' can explain (F test at 20%), which has its own;
degrees of freedom are Satterthwaite's. With one seed only questions can be counted, and the interval
speaks of that one trained program (`Gain.seeds == 1`). `benchmarks/coverage.py` measures how often all this holds.

Sources: Miller, arXiv 2411.00640 (questions as clusters); Cameron, Gelbach and Miller, "Robust Inference with Multiway
Clustering", 2011 (two crossed levels); Satterthwaite, 1946 (degrees of freedom).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt

from tfgrpo_dspy import DataError, Difference, Estimate
from tfgrpo_dspy.statistics import Rewards, mean_at_k, paired_difference, pass_at_k

BySeed = Sequence[Rewards]
"""One table of rewards per training seed, in the same order of seeds and of questions everywhere."""

POWER = 0.8
"""Chance with which `Gain.detectable` would be found."""
_UNUSUAL = 0.8
"""Of optimizers that are all alike, the share that has no excess of its own: one whose log-odds spread by 1 between
three seeds beside five with 0.1 is called better or worse by luck in 6% of tables (at 0.95 in 12%, never: in 24%)."""
_ROUNDING = 1e-24
"""Variances below are rounding, not spread."""


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better an optimizer did than its baseline, on the same questions under the same seeds."""

    difference: Difference
    """Over all seeds and questions; `n` counts questions."""
    by_seed: tuple[float, ...]
    """The mean difference of each seed."""
    detectable: float | None
    """The smallest true gain that this table would have called significant with `POWER`, by the error it has itself;
    None where all differences are equal, so that no error can be estimated, and where rewards allow no such gain."""
    is_blind: bool = False
    """Whether rewards allow no gain that would have been called significant with `POWER`."""

    @property
    def seeds(self) -> int:
        """Training seeds it rests on."""
        return len(self.by_seed)


def gains_over_seeds(
    pairs: Sequence[tuple[BySeed, BySeed]], *, level: float = 0.95, levels: Sequence[float] | None = None
) -> list[Gain]:
    """The paired gain of each optimizer over training seeds and questions; the module's text says how.

    Args:
        pairs: Baseline and optimizer: rewards per seed and question, in the same order within a pair. A question that
            lost all its rollouts is an empty row. Every pair has a baseline of its own, which may be the same one.
        level: Confidence level, in (0, 1).
        levels: That of each interval, where it is not `level`; see `holm_levels`.

    Raises:
        DataError: Seeds or questions do not match, or no question was answered on both sides under every seed.
    """
    tables = [_Table.of(*pair) for pair in pairs]
    parts = [table.parts for table in tables]
    shown = [level] * len(tables) if levels is None else levels
    excesses = [_excess_of(one, parts) for one in parts]
    return [_gain(table, one, level, at) for table, one, at in zip(tables, excesses, shown, strict=True)]


def mean_over_seeds(rewards: BySeed) -> Estimate:
    """Mean@k over all seeds with an interval over questions: of these trained programs, on questions like these.

    How much the seeds differ is another matter, told by their range.
    """
    return mean_at_k([[mean for seed in rewards if (mean := _mean(seed[q])) is not None] for q in _questions(rewards)])


def pass_over_seeds(rewards: BySeed, k: int, *, threshold: float = 1.0) -> Estimate | None:
    """Unbiased Pass@k, estimated within each seed's program and averaged; None if no question has k rollouts."""
    rows = [
        [pass_at_k([seed[q]], k, threshold=threshold).value for seed in rewards if len(seed[q]) >= k]
        for q in _questions(rewards)
    ]
    return mean_at_k(rows, bounds=(0.0, 1.0)) if any(rows) else None


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several, in the given order; each is significant where it is below the level.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min((len(p_values) - rank) * p_values[i], 1.0))
        adjusted[i] = highest
    return adjusted


def holm_levels(p_values: Sequence[float], level: float = 0.95) -> list[float]:
    """The level at which Holm's method tests each: its interval leaves out 0 exactly where `holm` is significant.

    Whatever is tested after the first that is not significant is not either, and has that one's level.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    levels, share, passed = [level] * len(p_values), 1 - level, True
    for rank, i in enumerate(order):
        share = (1 - level) / (len(p_values) - rank) if passed else share
        passed = passed and p_values[i] < share
        levels[i] = 1 - share
    return levels


def winner(means: Mapping[str, float]) -> str | None:
    """The name of the highest mean, the earlier of equals; None for no means.

    The highest of several noisy means is too high by luck: score its programs again on fresh rollouts before telling.
    """
    return max(means, key=lambda name: means[name], default=None)


def questions_needed(gain: float, detectable: float, n: int) -> int:
    """About how many questions would show a true gain, from what n of them can show: errors shrink with the root."""
    if gain <= 0 or detectable <= 0:
        raise DataError(f"gain and detectable must be above 0, got {gain} and {detectable}")
    return max(round(n * (detectable / gain) ** 2), 2)


def _questions(rewards: BySeed) -> range:
    sizes = {len(seed) for seed in rewards}
    if len(sizes) != 1:
        raise DataError(f"every seed must answer the same questions, got {sorted(sizes) or 'no seed'}")
    return range(sizes.pop())


def _mean(row: Sequence[float]) -> float | None:
    return fsum(row) / len(row) if len(row) else None


@dataclass(frozen=True, slots=True)
class _Parts:
    """Variances of a mean difference, and how many seeds and questions they rest on."""

    by_questions: float
    by_seeds: float
    by_cells: float
    seeds: int
    questions: int


@dataclass(frozen=True, slots=True)
class _Excess:
    """What seeds add to the variance of a mean, beyond luck within cells."""

    variance: float
    uncertainty: float
    """Sum of squared variances over their degrees of freedom, for Satterthwaite's formula."""


@dataclass(frozen=True, slots=True)
class _Table:
    """Mean rewards per seed and question of a baseline and an optimizer."""

    before: list[list[float]]
    after: list[list[float]]

    @classmethod
    def of(cls, baseline: BySeed, candidate: BySeed) -> _Table:
        """Over the questions answered on both sides under every seed."""
        if len(baseline) != len(candidate) or _questions(baseline) != _questions(candidate):
            raise DataError("a gain needs the same seeds and the same questions on both sides, in the same order")
        whole = [q for q in _questions(baseline) if all(len(seed[q]) for seed in (*baseline, *candidate))]
        if not whole:
            raise DataError("no question was answered on both sides under every seed, so there is nothing to compare")
        return cls(
            *([[fsum(seed[q]) / len(seed[q]) for q in whole] for seed in side] for side in (baseline, candidate))
        )

    @property
    def cells(self) -> list[list[float]]:
        return [[y - x for x, y in zip(*rows, strict=True)] for rows in zip(self.before, self.after, strict=True)]

    @property
    def bounds(self) -> tuple[float, float]:
        seen = [value for row in (*self.before, *self.after) for value in row]
        return min(0.0, *seen), max(1.0, *seen)

    @property
    def parts(self) -> _Parts:
        cells = self.cells
        s, n = len(cells), len(cells[0])
        of_seeds = [fsum(row) / n for row in cells]
        of_questions = [fsum(question) / s for question in zip(*cells, strict=True)]
        by_questions = _variance(of_questions) / n if n > 1 else 0.0
        if s == 1 or n == 1:
            return _Parts(by_questions, 0.0, 0.0, s, n)
        mean = fsum(of_seeds) / s
        left = fsum(
            (row[q] - of_seeds[i] - of_questions[q] + mean) ** 2 for i, row in enumerate(cells) for q in range(n)
        )
        return _Parts(by_questions, _variance(of_seeds) / s, left / ((n - 1) * (s - 1)) / (s * n), s, n)


def _excess_of(one: _Parts, tables: Sequence[_Parts]) -> _Excess:
    """That of all optimizers together, or an optimizer's own, which the seeds of the others say nothing about."""
    crossed = [parts for parts in tables if parts.seeds > 1 and parts.questions > 1]
    others = [parts for parts in crossed if parts is not one]
    return _excess([one] if one in crossed and _is_unstable(one, others) else crossed)


def _is_unstable(one: _Parts, others: Sequence[_Parts]) -> bool:
    from scipy.special import fdtri

    if not others:
        return False
    most = float(fdtri(one.seeds - 1, sum(parts.seeds - 1 for parts in others), _UNUSUAL))
    return one.by_seeds > most * fsum(parts.by_seeds for parts in others) / len(others)


def _excess(crossed: Sequence[_Parts]) -> _Excess:
    if not crossed:
        return _Excess(0.0, 0.0)
    variance = fsum(parts.by_seeds - parts.by_cells for parts in crossed) / len(crossed)
    uncertain = [
        parts.by_seeds**2 / (parts.seeds - 1) + parts.by_cells**2 / ((parts.questions - 1) * (parts.seeds - 1))
        for parts in crossed
    ]
    return _Excess(max(variance, 0.0), fsum(uncertain) / len(crossed) ** 2)


def _gain(table: _Table, excess: _Excess, level: float, level_shown: float) -> Gain:
    parts, (low, high) = table.parts, table.bounds
    found = paired_difference(_averaged(table.before), _averaged(table.after), level=level_shown, bounds=(low, high))
    by_seed = tuple(fsum(row) / len(row) for row in table.cells)
    variance = parts.by_questions + (excess.variance if parts.seeds > 1 else 0.0)
    if parts.by_questions <= _ROUNDING:
        return Gain(found, by_seed, None)
    freedom = parts.questions - 1.0
    if variance > parts.by_questions:
        freedom = variance**2 / (parts.by_questions**2 / freedom + excess.uncertainty)
        found = _widened(found, sqrt(variance), freedom, high - low)
    reach = _quantile(freedom, (1 + level) / 2) + _quantile(freedom, POWER)
    detectable = reach * sqrt(variance)
    return Gain(found, by_seed, detectable) if detectable < high - low else Gain(found, by_seed, None, is_blind=True)


def _averaged(means: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[fsum(question) / len(question)] for question in zip(*means, strict=True)]


def _widened(found: Difference, error: float, freedom: float, span: float) -> Difference:
    """The same difference with another standard error."""
    from scipy.special import stdtr

    reach = _quantile(freedom, (1 + found.level) / 2) * error
    p_value = min(2 * float(stdtr(freedom, -abs(found.value) / error)), 1.0)
    return replace(found, low=max(found.value - reach, -span), high=min(found.value + reach, span), p_value=p_value)


def _quantile(freedom: float, share: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def _variance(values: Sequence[float]) -> float:
    mean = fsum(values) / len(values)
    return fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
