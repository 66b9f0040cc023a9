"""A comparison on a program, a metric and files of one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evals.cli import app
from evals.compare.command import run_compare
from evals.compare.options import ROW_FAILED, CompareOptions
from evals.compare.own_task import task_at, task_of_files
from evals.harness.tasks import Task, find_task
from evals.harness.training import Unanswered
from tests.tfgrpo_dspy.command_line import problems
from tfgrpo_dspy import DataError, SettingsError

MINE = """
import dspy
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

program = dspy.ChainOfThought("question -> answer")

def right(example, prediction, trace=None):
    return example.answer in prediction.answer

def task():
    return {
        "student": lambda: dspy.ChainOfThought("question -> answer"),
        "metric": right,
        "data": lambda seed: (demo_examples(4, seed), demo_examples(4, 0, "test")),
        "lm": lambda seed: simulated_lm(seed=seed, cache=False),
        "model": "simulated",
        "program": "chain of thought",
        "simulated": True,
    }
"""
OWN = CompareOptions(
    program="mine.py:program",
    trainset="train.jsonl",
    test="test.jsonl",
    metric="mine.py:right",
    lm="simulated",
    optimizers="none,labeled-fewshot",
    seeds=2,
    k=1,
    budget=40,
    threads=4,
    tracking=False,
)


@pytest.fixture(autouse=True)
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problems(6, 4)
    Path("mine.py").write_text(MINE, encoding="utf-8")


def test_program_and_files_make_a_task():
    task = task_of_files(OWN)
    assert task.name == "mine.py-program-train"
    assert (task.model, task.program, task.simulated) == ("simulated", "ChainOfThought", True)
    first, second = task.data(0), task.data(1)
    assert sorted(map(str, first.train)) == sorted(map(str, second.train))
    assert first.train != second.train, "each seed learns in its own order"
    assert first.test == second.test
    assert task.student() is not task.student()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": None}, "--test FILE: held-out examples"),
        ({"trainset": None}, "TRAINSET: examples to learn from"),
        ({"lm": None}, "--lm MODEL: the language model that answers"),
        ({"task": "demo"}, "compare a program of yours or --task demo, one of the two"),
        ({"program": None}, "--test goes with a program of yours"),
        ({"budget": 0}, "--budget must be at least 1"),
        ({"test": "nowhere.jsonl"}, "there is no such file"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_paid(changes, message):
    with pytest.raises((SettingsError, DataError), match=message):
        run_compare(replace(OWN, **changes))


def test_a_task_stands_in_a_file():
    task = task_at("mine.py:task")
    assert isinstance(task, Task)
    assert task.name == "mine.py-task"
    assert len(task.data(0).train) == 4
    assert find_task("demo") is not task
    with pytest.raises(SettingsError, match=r"'mine.py:program' is of type ChainOfThought; it must be a Task"):
        task_at("mine.py:program")


def test_the_whole_comparison_prints_json_and_runs_nothing_twice(capsys):
    assert run_compare(replace(OWN, json_=True)) == 0
    written = json.loads(capsys.readouterr().out)
    assert {line["optimizer"] for line in written["lines"]} == {"none", "labeled-fewshot"}
    assert Path(written["report"]).is_file()
    rows = sorted(path.stat().st_mtime_ns for path in Path("out/evals").rglob("row.json"))
    assert run_compare(OWN) == 0
    assert rows == sorted(path.stat().st_mtime_ns for path in Path("out/evals").rglob("row.json"))
    assert "Scores (simulated)" in capsys.readouterr().out


@pytest.mark.parametrize("budget", [10, 30, 60])
def test_no_optimizer_is_seen_to_take_more_than_the_budget(budget, capsys):
    names = "none,tfgrpo,bootstrap-fewshot,infer-rules,textgrad,ace,tfgrpo->bootstrap-fewshot"
    assert run_compare(replace(OWN, optimizers=names, seeds=1, budget=budget, json_=True)) in {0, ROW_FAILED}
    rows = [json.loads(path.read_text()) for path in Path("out/evals").rglob("row.json")]
    assert len(rows) == len(names.split(","))
    assert max(row["training"]["usage"]["lm_calls"] for row in rows) <= budget
    assert all("raise the budget" in row["error"] for row in rows if row["error"])
    assert any(row["error"] is None and row["training"]["usage"]["lm_calls"] for row in rows)


def test_a_dry_run_says_what_each_optimizer_may_take(capsys):
    assert run_compare(replace(OWN, optimizers="none,tfgrpo,best-of-n", dry_run=True, json_=True)) == 0
    none, ours, best = json.loads(capsys.readouterr().out)
    assert (none["learning_calls"], ours["learning_calls"], best["at_inference"]) == (0, 80, True)
    assert none["test_calls"] == pytest.approx(8)
    assert ours["tokens"] > none["tokens"]
    assert not Path("out").exists()
    assert run_compare(replace(OWN, dry_run=True)) == 0
    assert "Forecast for 2 seeds" in capsys.readouterr().out


def test_an_endpoint_of_the_embedded_lm_is_labelled_as_it_is():
    task = task_of_files(replace(OWN, lm="openai/simulated", api_base="http://127.0.0.1:1/v1"))
    assert task.simulated
    assert not task_of_files(replace(OWN, lm="openai/gpt-4.1-mini")).simulated


def test_the_forecast_counts_the_calls_of_optimizers_that_no_budget_bounds(capsys):
    names = "none,bootstrap-fewshot,tfgrpo-direct,tfgrpo"
    assert run_compare(replace(OWN, optimizers=names, dry_run=True)) == 0
    said = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()}
    for name, learning in {
        "none": "none",
        "bootstrap-fewshot": "about 12",
        "tfgrpo-direct": "about 2",
        "tfgrpo": "at most 80",
    }.items():
        assert said[name].removeprefix(name).strip().startswith(learning), said[name]


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), Unanswered("max_outage=3600: the endpoint was away")])
def test_what_ends_a_comparison_early_says_what_is_kept_and_how_to_go_on(ended):
    from evals.compare.display import Display
    from tests.evals.small import small_row
    from tfgrpo_dspy.cli import Away, Interrupted

    rows = [small_row("none", seed) for seed in range(3)]

    def stopped():
        with Display(rows) as display:
            display._done = 2
            raise ended

    kept = "2 of 3 rows are finished and kept; give the same command again to go on"
    with pytest.raises((Away, Interrupted), match=kept):
        stopped()


@pytest.mark.slow
def test_the_ranking_is_shown_under_each_ability_of_the_embedded_lm(capsys):
    small = {"program": None, "trainset": None, "test": None, "lm": None, "task": "demo", "metric": "exact"}
    options = replace(OWN, **small, abilities=True, seeds=1, train_limit=4, test_limit=4)
    assert run_compare(options) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "SIMULATED",
        "What the LM can learn from decides how optimizers fare here:",
        "contrast answer both",
        "it ranks no methods",
    ):
        assert words in said, words
    folder = Path("out/evals/demo")
    page = (folder / "abilities.md").read_text()
    assert "they rank no methods" in page
    assert page.count("\n| none |") == 1
    assert all((folder / ability / "report.html").exists() for ability in ("contrast", "answer", "both"))
    with pytest.raises(SettingsError, match="--abilities are of the embedded LM alone"):
        run_compare(replace(OWN, abilities=True))


def test_the_command_takes_its_options():
    from typer.testing import CliRunner

    said = CliRunner().invoke(app, ["compare", "mine.py:program", "train.jsonl", "--lm", "simulated"])
    assert said.exit_code == 2
    assert "--test FILE" in said.output
