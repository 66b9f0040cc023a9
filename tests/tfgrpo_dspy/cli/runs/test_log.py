"""`tfgrpo log`: a run's store, shown, exported and checked."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run, the_error
from tests.tfgrpo_dspy.rollouts.test_recorded import keep, scored
from tfgrpo_dspy.records.rollouts import Made
from tfgrpo_dspy.runtime.store import Store


@pytest.fixture
def finished() -> None:
    problems(train=4)
    done = run(
        *("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated"),
        *("--epochs", "2", "--out", "out", "--no-tracking"),
    )
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("finished")
def test_a_run_is_shown_with_settings_steps_spend_and_counts():
    shown = run("log", "out")
    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    for expected in ("token ", "made ", "spent ", "epochs 2", "group_size 5", "training 40", "summary "):
        assert any(line.startswith(expected) for line in lines), expected
    [first, second] = [line for line in lines if line.startswith(("1 1 20 0 ", "2 2 20 0 "))]
    assert "add" in first
    assert second.endswith(" s")


@pytest.mark.usefixtures("finished")
def test_its_records_are_exported_as_lines_with_their_texts():
    assert run("log", "out", "--export", "run.jsonl").exit_code == 0
    lines = [json.loads(line) for line in Path("run.jsonl").read_text(encoding="utf-8").splitlines()]
    rollouts = [line["value"] for line in lines if line["kind"] == "result" and line["name"].startswith("training")]
    assert len(rollouts) == 40
    assert all("answer" in rollout["trajectory"] for rollout in rollouts)
    assert {"about", "result", "step", "part", "spent"} == {line["kind"] for line in lines}


def test_a_run_that_goes_on_is_shown():
    with Store("out/log", {"epochs": 1}) as store:
        store.keep("training seed 0: s1/e0/r0 0a", Made, scored("s1/e0/r0"))
        shown = run("log", "out")
    assert shown.exit_code == 0, shown.output
    assert "training" in shown.stdout


def test_a_sound_store_is_said_to_be_so_and_a_damaged_record_named():
    keep(Path("out/log"), {f"training seed 0: s1/e{i}/r0 0a": (Made, scored(f"s1/e{i}/r0")) for i in range(3)})
    assert "all as they were written" in run("log", "out", "--check").stdout
    with closing(sqlite3.connect("out/log/run.db")) as connection, connection:
        connection.execute("UPDATE records SET checksum = 'x' WHERE name LIKE '%e1/r0%'")
    checked = run("log", "out", "--check")
    assert checked.exit_code == 2
    assert "1 record of out/log/run.db is damaged" in the_error(checked)
    assert "result training seed 0: s1/e1/r0 0a" in the_error(checked)


def test_text_of_a_run_cannot_steer_the_terminal():
    with Store("out/log", {"objective": "\x1b]0;owned\x07"}) as store:
        store.note("\x1b[2J gone")
    shown = run("log", "out", env={"FORCE_COLOR": "1", "NO_COLOR": ""}).stdout
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown
    assert "<1b>]0;owned" in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "no run.db of a run in nowhere"),
        (["out", "--check", "--export", "x"], "give one of them"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_sentence(arguments, expected):
    shown = run("log", *arguments)
    assert shown.exit_code == 2
    assert expected in the_error(shown)


@pytest.mark.usefixtures("finished")
def test_what_the_store_holds_is_recorded_in_mlflow_once_however_often_it_is_asked_for():
    mlflow = pytest.importorskip("mlflow")
    for _ in range(2):
        shown = run("log", "out", "--to-mlflow", "--experiment", "late")
        assert shown.exit_code == 0, shown.output
        assert "MLflow: run " in shown.stdout
    client = mlflow.MlflowClient(f"sqlite:///{Path.cwd() / 'mlruns' / 'mlflow.db'}")
    [experiment] = [e for e in client.search_experiments() if e.name == "late"]
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["recorded"] == "afterwards, of the run's store"
    assert [m.step for m in client.get_metric_history(found.info.run_id, "reward/mean")] == [1, 2]
    folder = Path(found.info.artifact_uri.removeprefix("file://"))
    assert json.loads((folder / "library/returned.json").read_text()) == json.loads(
        Path("out/library.json").read_text()
    )
    assert {path.name for path in (folder / "tables").iterdir()} >= {"rollouts_step_01.json", "operations_step_02.json"}
    assert json.loads(Path("out/mlflow.json").read_text(encoding="utf-8"))["run_id"] == found.info.run_id
