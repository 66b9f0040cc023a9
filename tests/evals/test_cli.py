"""`tfgrpo compare` and `list`: what a person types, sees and gets back."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from evals.cli import app
from evals.compare.options import ROW_FAILED
from evals.scoring import study as study_module
from tests.evals.small import make

SMALL = [
    "compare",
    "--train-limit",
    "6",
    "--test-limit",
    "6",
    "-k",
    "2",
    "--threads",
    "2",
    "--no-tracking",
    "--out",
    "out",
]


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_a_comparison_writes_its_reports_and_says_who_did_best():
    done = call(*SMALL, "--optimizers", "none,tfgrpo", "--seeds", "2")
    assert done.exit_code == 0, done.output
    for words in ("SIMULATED", "[4/4] tfgrpo, seed 1", "Scores (simulated)", "out/report.html", "out/report.md"):
        assert words in done.output
    again = call(*SMALL, "--optimizers", "none,tfgrpo", "--seeds", "2")
    assert again.output.count("finished before") == 4


def test_a_failed_row_is_shown_and_makes_the_exit_code_tell(monkeypatch):
    def rows(*args, **kwargs):
        made = study_module.Row
        return [
            made(task=args[0], optimizer=name, seed=0, make=make, train=6, test=6)
            for name in ("none", "breaking", "advising")
        ]

    monkeypatch.setattr("evals.compare.command.rows_of", rows)
    done = call(*SMALL, "--optimizers", "none,breaking,advising", "--seeds", "1")
    assert done.exit_code == ROW_FAILED
    assert "[2/3] breaking, seed 0: failed: RuntimeError: the optimizer broke" in done.output
    assert "[3/3] advising" in done.output
    assert "What failed" in done.output
    assert "sk-abc" not in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "nothing"], "there is no task 'nothing'; there are: demo"),
        (["--optimizers", "tfgpro"], "there is no optimizer 'tfgpro'"),
        (["--optimizers", "none,none"], "named twice"),
        (["--optimizers", ","], "at least one optimizer"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["-k", "0"], "-k must be at least 1"),
        (["--test-limit", "1"], "--test-limit must be at least 2"),
        (["--baseline", "gepa"], "--baseline gepa is not among"),
    ],
)
def test_what_can_be_mended_is_said_in_one_sentence(arguments, said):
    done = call("compare", "--no-tracking", *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_any_chain_of_optimizers_can_be_compared():
    done = call(*SMALL, "--optimizers", "none,labeled-fewshot->tfgrpo-direct", "--seeds", "1")
    assert done.exit_code == 0, done.output
    assert "labeled-fewshot->tfgrpo-direct, seed 0" in done.output


def test_help_shows_an_example():
    done = call("compare", "--help")
    assert "tfgrpo compare --task demo" in " ".join(done.output.split())


def test_the_lists_name_tasks_and_optimizers():
    done = call("list")
    assert done.exit_code == 0
    for name in ("demo", "tfgrpo", "bootstrap-fewshot"):
        assert name in done.output
