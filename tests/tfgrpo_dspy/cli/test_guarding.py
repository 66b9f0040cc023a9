"""`tfgrpo compile` with a gate, a required gain and a test set: what it says of whether it helped."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.demo_world import write_problems
from tests.tfgrpo_dspy.command_line import SOLVER, run, the_error
from tfgrpo_dspy import read_library
from tfgrpo_dspy.gates.holdout import Holdout

COMPILE = ("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated", "--no-tracking")
QUICK = ("--epochs", "1", "--group-size", "4", "--num-threads", "2")


@pytest.fixture
def files():
    write_problems(Path(), train=16, test=40)


@pytest.mark.usefixtures("files")
def test_a_gated_run_reports_its_trials_and_the_gain_on_a_test_set():
    made = run(*COMPILE, *QUICK, "--gate", "test.jsonl", "--test", "test.jsonl")
    assert made.exit_code == 0, made.output
    report = Path("out/report.md").read_text()
    assert "## Gate" in report
    assert "| passed |" in report or "| not shown |" in report
    assert "Gain on held-out questions: " in report.partition("## Did it help?")[2]
    assert "Did it help?" in made.stdout


@pytest.mark.usefixtures("files")
def test_a_required_gain_that_does_not_show_leaves_the_program_as_it_was():
    Path("few.jsonl").write_text("".join(Path("test.jsonl").read_text().splitlines(keepends=True)[:4]))
    made = run(*COMPILE, *QUICK, "--require-gain", "--valset", "few.jsonl")
    assert made.exit_code == 0, made.output
    assert "so the student was returned as it was" in " ".join(made.stdout.split())
    assert len(read_library("out/library.json")) == 0
    assert "Not shown to be better" in Path("out/report.md").read_text()


@pytest.mark.usefixtures("files")
def test_a_forecast_counts_the_gate():
    shown = " ".join(run(*COMPILE, *QUICK, "--dry-run", "--gate", "test.jsonl").stdout.split())
    assert " gate " in shown
    assert "the gate makes 56 to 160 rollouts a step" in shown


@pytest.mark.usefixtures("files")
def test_options_that_cannot_work_say_so():
    assert "--require-gain needs" in the_error(run(*COMPILE, "--require-gain"))
    assert "--update must be" in the_error(run(*COMPILE, "--update", "pray"))


def test_the_most_that_a_holdout_takes_is_known_beforehand():
    from tests.tfgrpo_dspy.scripted import examples

    assert Holdout(examples(40), k=2).most_rollouts == 2 * 40 * 2
