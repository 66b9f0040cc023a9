"""`tfgrpo evaluate`: a bare program, a compiled one, and the gain between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run
from tfgrpo_dspy.library.section import OPENING

COMPILE = ("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated", "--no-tracking")


@pytest.fixture(autouse=True)
def inputs():
    problems(24, 24)


def said(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_bare_program_gets_its_mean_with_an_interval():
    text = said("evaluate", SOLVER, "test.jsonl", "--metric", "number", "--lm", "simulated", "-k", "3")
    assert "SIMULATED" in text
    assert "Mean@3 [95% interval] Pass@3" in text
    assert "24 x 3" in text
    assert "Gain" not in text


def test_a_compiled_program_needs_no_further_word_to_show_its_gain():
    said(*COMPILE)
    text = said("evaluate", "out/program.json", "test.jsonl")
    assert "Gain on held-out questions: +" in text
    assert "paired over 24 questions: better" in text
    report = Path("out/report.md").read_text(encoding="utf-8")
    assert "## Did it help?\n\nOn test.jsonl:" in report
    assert "gain was added to out/report.md" in text
    said("evaluate", "out", "test.jsonl", "-k", "2")
    assert "is a library, not a program" in run("evaluate", "out/library.json", "test.jsonl").output
    again = Path("out/report.md").read_text(encoding="utf-8")
    assert again.count("## Did it help?") == 1
    assert "## Library" in again


def test_a_state_is_loaded_into_a_program_that_is_named():
    said(*COMPILE)
    arguments = ("evaluate", SOLVER, "test.jsonl", "--load", "out/program.json", "--metric", "number")
    text = said(*arguments, "--lm", "simulated", "-k", "2")
    assert "bare" in text
    assert "learned" in text
    alone = said(*arguments, "--lm", "simulated", "-k", "2", "--no-baseline")
    assert "bare" not in alone
    assert "Gain" not in alone


def test_the_command_line_wins_over_what_was_recorded():
    said(*COMPILE)
    text = said("evaluate", "out/program.json", "test.jsonl", "--metric", "exact", "--limit", "5", "--seed", "3")
    assert "metric exact" in text
    assert "5 x 5" in text


def test_the_same_program_is_not_distinguishable_from_itself():
    said(*COMPILE, "--epochs", "1", "--limit", "1", "--group-size", "1")
    state = json.loads(Path("out/program.json").read_text(encoding="utf-8"))
    assert OPENING not in state["predict"]["signature"]["instructions"]
    assert "not distinguishable" in said("evaluate", "out/program.json", "test.jsonl")


def test_the_same_seed_gives_the_same_figures():
    arguments = ("evaluate", SOLVER, "test.jsonl", "--metric", "number", "--lm", "simulated", "-k", "2")
    first, again, other = said(*arguments), said(*arguments, "--num-threads", "1"), said(*arguments, "--seed", "5")

    def figures(text: str) -> str:
        return text.partition("Result")[2]

    assert figures(first) == figures(again) != figures(other)


def test_a_program_that_was_compiled_in_python_is_recognised_by_its_library():
    Path("learned.py").write_text(
        "from programs.demo_world import solver as bare\n"
        "from tfgrpo_dspy import ExperienceLibrary, attach\n"
        "solver = attach(bare, ExperienceLibrary.from_texts(['Read twice.']))\n",
        encoding="utf-8",
    )
    text = said("evaluate", "learned.py:solver", "test.jsonl", "--metric", "number", "--lm", "simulated", "-k", "1")
    assert "with its library" in text


@pytest.mark.slow
def test_scores_join_the_mlflow_run_that_learned_the_program():
    tracked = [word for word in COMPILE if word != "--no-tracking"]
    said(*tracked, "--epochs", "1", "--test", "test.jsonl")
    run_id = json.loads(Path("out/mlflow.json").read_text(encoding="utf-8"))["run_id"]
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlruns' / 'mlflow.db'}")
    numbers = client.get_run(run_id).data.metrics
    assert numbers["heldout/n"] == 24
    assert numbers["heldout/gain_low"] < numbers["brief/heldout_gain"] < numbers["heldout/gain_high"]
    text = said("evaluate", "out/program.json", "test.jsonl", "-k", "2", "--limit", "12")
    assert f"The scores were added to the MLflow run {run_id}" in text
    assert client.get_run(run_id).data.metrics["heldout/n"] == 12
    assert "MLflow run" not in said("evaluate", "out/program.json", "test.jsonl", "-k", "1", "--no-tracking")


def test_scores_that_a_limit_cut_short_have_an_exit_code_of_their_own():
    arguments = ("evaluate", SOLVER, "test.jsonl", "--metric", "number", "--lm", "simulated", "-k", "2")
    cut = run(*arguments, "--max-lm-calls", "10")
    assert cut.exit_code == 5, cut.output
    assert "max_lm_calls=10" in cut.output
