"""The table of a comparison, and what may be said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.harness.rows import Question
from evals.scoring import verdicts
from evals.scoring.table import Table, leader, tabulate, with_winner
from tests.evals.small import made_result, small_row, small_task
from tfgrpo_dspy import DataError

N = 12
CHANCES = {"none": 0.3, "tfgrpo": 0.9, "tfgrpo-one-epoch": 0.85, "bootstrap-fewshot": 0.3, "labeled-fewshot": 0.05}


def rewards(chance: float, seed: int, n: int = N, k: int = 2) -> list[list[float]]:
    return (np.random.default_rng(seed).random((n, k)) < chance).astype(float).tolist()


def row_of(name: str, seed: int, **changed):
    return replace(small_row(name, seed, task=small_task(**changed)), test=N)


def table_of(names=tuple(CHANCES), seeds=(0, 1, 2), failing=(), **more) -> Table:
    rows = [row_of(name, seed) for name in names for seed in seeds]
    results = [
        made_result(
            row,
            rewards(CHANCES[row.optimizer], 10 * at + row.seed),
            error="RuntimeError: x" if (row.optimizer, row.seed) in failing else None,
            **more,
        )
        for at, row in enumerate(rows)
    ]
    return tabulate(rows, results, "none")


def line(table: Table, name: str):
    return next(found for found in table.lines if found.optimizer == name)


def test_every_optimizer_is_a_line_over_its_seeds():
    table = table_of()
    assert [found.label for found in table.lines] == list(CHANCES)
    assert {found.optimizer: found.verdict for found in table.lines} == {
        "none": "baseline",
        "tfgrpo": "better",
        "tfgrpo-one-epoch": "better",
        "bootstrap-fewshot": "not distinguishable",
        "labeled-fewshot": "worse",
    }
    assert line(table, "none").gain is None
    assert line(table, "tfgrpo").gain.seeds == 3
    assert (table.k, table.questions, table.seeds, table.comparisons) == (2, N, (0, 1, 2), 4)


def test_p_values_are_corrected_for_all_comparisons_of_the_table():
    table = table_of()
    for found in table.lines:
        if found.gain is not None:
            assert found.p_holm >= found.gain.difference.p_value


def test_a_failed_seed_is_left_out_on_both_sides_and_told():
    table = table_of(failing={("tfgrpo", 1)})
    assert line(table, "tfgrpo").gain.seeds == 2
    assert len(line(table, "tfgrpo").rows) == 2
    assert [(row.optimizer, row.seed) for row in table.failures] == [("tfgrpo", 1)]
    assert any("tfgrpo (seed 1)" in warning for warning in verdicts.warnings(table))


def test_an_optimizer_whose_every_seed_failed_has_no_score_and_breaks_nothing():
    table = table_of(failing={("tfgrpo", seed) for seed in (0, 1, 2)})
    assert line(table, "tfgrpo").verdict == "failed"
    assert line(table, "tfgrpo").mean is None
    assert leader(table).optimizer == "tfgrpo-one-epoch"


def test_without_a_baseline_nothing_is_compared():
    table = table_of(failing={("none", seed) for seed in (0, 1, 2)})
    assert table.comparisons == 0
    assert leader(table) is None
    assert "Nothing was compared" in verdicts.headline(table)


def test_each_model_has_a_baseline_of_its_own():
    rows = [
        replace(row_of(name, 0), task=small_task(model=model))
        for model in ("large", "small")
        for name in ("none", "tfgrpo")
    ]
    rows = [replace(row, test=N) for row in rows]
    chances = (0.6, 0.9, 0.1, 0.5)
    results = [made_result(row, rewards(c, at)) for at, (row, c) in enumerate(zip(rows, chances, strict=True))]
    table = tabulate(rows, results, "none")
    assert [found.label for found in table.lines] == ["large, none", "large, tfgrpo", "small, none", "small, tfgrpo"]
    gains = [found.gain.difference.value for found in table.lines if found.gain]
    means = [found.mean.value for found in table.lines]
    assert gains == pytest.approx([means[1] - means[0], means[3] - means[2]])


def test_rows_of_two_test_sets_are_no_table():
    rows = [row_of("none", 0), replace(row_of("tfgrpo", 0), test=5)]
    with pytest.raises(DataError, match="one test set"):
        tabulate(rows, [made_result(row, [[1.0, 1.0]] * N) for row in rows], "none")


# The winner


def won(table: Table, chance: float) -> Table:
    best = leader(table)
    again = {row.seed: [Question(tuple(r)) for r in rewards(chance, 900 + row.seed)] for row in best.rows}
    return with_winner(table, best, again)


def test_the_winner_is_told_by_its_fresh_rollouts():
    table = won(table_of(), 0.6)
    winner = table.winner
    assert winner.line.optimizer == "tfgrpo"
    assert winner.mean.value < winner.line.mean.value
    assert winner.gain.difference.value < winner.line.gain.difference.value
    assert winner.runner_up.optimizer == "tfgrpo-one-epoch"
    assert f"{winner.mean.value:.3f}" in verdicts.headline(table)
    assert any("Drawn again" in finding for finding in verdicts.findings(table))


def test_without_all_its_seeds_the_winner_is_not_told():
    table = table_of()
    assert with_winner(table, leader(table), {0: []}).winner is None


# Words


def test_the_findings_name_every_optimizer_and_what_the_table_could_see():
    told = " ".join(verdicts.findings(table_of()))
    for words in (
        "Better than none: tfgrpo ",
        "Worse than none: labeled-fewshot",
        "Not distinguishable from none: boot",
    ):
        assert words in told
    assert "12 questions and 3 seeds" in told
    assert "80% of the time" in told


def test_a_budget_overrun_is_told():
    rows = [replace(row_of(name, 0), calls=60) for name in ("none", "tfgrpo")]
    results = [made_result(row, rewards(0.5, 1), calls=calls) for row, calls in zip(rows, (0, 61), strict=True)]
    told = list(verdicts.warnings(tabulate(rows, results, "none")))
    assert any("tfgrpo took 61 LM calls to learn, more than the budget of 60" in warning for warning in told)


def test_one_seed_speaks_of_one_program():
    table = table_of(seeds=(0,))
    assert any("this one trained program" in text for text in verdicts.statistics(table))
    assert any("1 training seed" in warning for warning in verdicts.warnings(table))
    assert any("would take about" in finding for finding in verdicts.findings(table))
