"""What other programs get of a command: one JSON document on standard output, and exit codes that a CI can hold to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run, the_error
from tfgrpo_dspy.cli.boundary import TOO_LOW

COMPILE = (
    "compile",
    SOLVER,
    "train.jsonl",
    "--metric",
    "number",
    "--lm",
    "simulated",
    "--no-tracking",
    "--epochs",
    "1",
)
EVALUATE = ("evaluate", SOLVER, "test.jsonl", "--metric", "number", "--lm", "simulated", "-k", "2")


@pytest.fixture(autouse=True)
def inputs():
    problems(12, 12)


def document(*arguments: str) -> dict:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_run_and_its_library_are_documents():
    made = document(*COMPILE, "--test", "test.jsonl", "--json")
    assert made["ended"] == "done"
    assert made["simulated"] is True
    assert [step["step"] for step in made["steps"]] == [1]
    assert made["heldout"]["gain"]["verdict"] in {"better", "worse", "not distinguishable"}
    assert len(made["heldout"]["programs"]["learned"]["questions"]) == 12
    assert "out/program.json" in made["files"]
    library = document("library", "show", "out", "--json")
    assert [e["text"] for e in library["experiences"]] == [e["text"] for e in made["library"]]
    [commit] = json.loads(run("library", "log", "out", "--json").stdout)
    assert commit["author"] == "updater"
    [added] = json.loads(run("library", "blame", "out", "G0", "--json").stdout)
    assert added["change"]["after"]["text"] == library["experiences"][0]["text"]
    changed = document("library", "diff", "out", "--json")
    assert len(changed["added"]) == len(library["experiences"])


def test_what_people_read_goes_to_standard_error():
    result = run(*EVALUATE, "--json")
    assert len(result.stdout.splitlines()) == 1
    assert "Mean@2" in result.stderr
    assert "SIMULATED" in result.stderr


def test_a_dry_run_is_a_document():
    assert document(*COMPILE, "--dry-run", "--pilot", "2", "--json")["total"]["calls"]["expected"] > 0


def test_a_score_below_what_was_asked_for_has_an_exit_code_of_its_own():
    assert run(*EVALUATE, "--fail-under", "0").exit_code == 0
    failed = run(*EVALUATE, "--fail-under", "1.5")
    assert failed.exit_code == TOO_LOW
    assert "Too low: the mean reward 0." in failed.stderr


def test_a_program_is_held_to_an_earlier_evaluation_of_the_same_questions():
    Path("before.json").write_text(run(*EVALUATE, "--json").stdout, encoding="utf-8")
    same = run(*EVALUATE, "--no-worse-than", "before.json")
    assert same.exit_code == 0
    assert "against before.json: " in same.stdout
    better = json.loads(Path("before.json").read_text())
    for question in better["programs"]["bare"]["questions"]:
        question["rewards"] = [1.5, 1.5]
    Path("better.json").write_text(json.dumps(better), encoding="utf-8")
    assert run(*EVALUATE, "--no-worse-than", "better.json").exit_code == TOO_LOW


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file before.json to compare with"),
        ("{}", "before.json holds no evaluation (KeyError)"),
        (
            '{"programs": {"bare": {"questions": [{"inputs": {"question": "x"}, "rewards": [1]}]}}}',
            "of other questions",
        ),
    ],
)
def test_a_file_that_cannot_be_compared_with_is_said_before_anything_is_asked(text, message):
    if text is not None:
        Path("before.json").write_text(text, encoding="utf-8")
    refused = run(*EVALUATE, "--no-worse-than", "before.json")
    assert message in the_error(refused)
    assert "Mean@" not in refused.output
