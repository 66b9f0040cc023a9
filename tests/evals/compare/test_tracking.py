"""A comparison in MLflow: nested runs, prompt versions, logged models."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dspy
import mlflow
import pytest

from evals.compare import tracking as tracking_module
from evals.compare.tracking import Tracking
from evals.harness.running import Harness
from evals.reports.written import write_reports
from evals.scoring.study import run_study
from tests.evals.small import make, small_row


def recorded(rows, **more) -> tuple[Tracking, mlflow.MlflowClient]:
    tracking = Tracking("evals-test", rows, **more)
    study = run_study(rows, Harness(out=Path("out"), num_threads=2, listeners=[tracking]))
    tracking.finish(study, Path("out"), write_reports(study, Path("out")))
    return tracking, mlflow.MlflowClient(tracking_uri=f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")


def runs_of(client) -> dict[str, mlflow.entities.Run]:
    experiment = client.get_experiment_by_name("evals-test")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


@pytest.mark.slow
def test_a_comparison_is_a_parent_with_a_nested_run_per_row():
    rows = [small_row("none"), small_row("tfgrpo"), small_row("breaking", make=make)]
    tracking, client = recorded(rows)
    assert tracking.unrecorded == ()
    runs = runs_of(client)
    parent = next(run for name, run in runs.items() if name.startswith("3 optimizers"))
    children = [run for run in runs.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.run_name: run.info.status for run in children} == {
        "none, seed 0": "FINISHED",
        "tfgrpo, seed 0": "FINISHED",
        "breaking, seed 0": "FAILED",
    }
    _check_row(client, runs["tfgrpo, seed 0"])
    _check_parent(client, parent)
    _check_prompts(client, runs["tfgrpo, seed 0"])
    _check_model(client, runs["tfgrpo, seed 0"])
    _check_a_second_call_adds_nothing(rows, client, runs)
    assert mlflow.active_run() is None
    assert not Path("mlflow.db").exists()


def _check_row(client, run):
    assert {
        "heldout/learned",
        "heldout/learned_low",
        "heldout/pass_at_k",
        "heldout/gain_of_seed",
        "heldout/gain_low",
        "learning/lm_calls",
    } <= set(run.data.metrics)
    assert len(client.get_metric_history(run.info.run_id, "brief/mean_reward")) == 3, "written step by step"
    assert {"learned.txt", "library", "tables"} <= {f.path for f in client.list_artifacts(run.info.run_id)}
    assert run.data.params["row.optimizer"] == "tfgrpo"
    assert run.data.tags["simulated"] == "true"


def _check_parent(client, run):
    assert {"report.html", "report.md", "table.json", "figures"} <= {
        f.path for f in client.list_artifacts(run.info.run_id)
    }
    assert "Simulated LM" in run.data.tags["mlflow.note.content"]


def _check_prompts(client, run):
    name = "evals-test-tfgrpo-seed0"
    versions = client.search_prompt_versions(name)
    assert sorted(version.version for version in versions) == [1, 2, 3]
    first = next(version for version in versions if version.version == 1)
    assert first.template.startswith("- [G0] ")
    assert first.commit_message.startswith("epoch 1, step 1: ")
    assert client.get_prompt_version_by_alias(name, "best").version == 3
    linked = json.loads(run.data.tags["mlflow.linkedPrompts"])
    assert [entry["version"] for entry in linked] == ["1", "2", "3"]


def _check_model(client, run):
    [output] = run.outputs.model_outputs
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
    mlflow.set_tracking_uri(client.tracking_uri)
    loaded = mlflow.dspy.load_model(f"models:/{output.model_id}")
    assert "<experience-library>" in loaded.predictors()[0].signature.instructions
    assert isinstance(loaded, dspy.Module)


def _check_a_second_call_adds_nothing(rows, client, before):
    recorded(rows)
    after = runs_of(client)
    assert set(after) == set(before)
    done = "tfgrpo, seed 0"
    assert after[done].info.end_time == before[done].info.end_time
    assert len(client.search_prompt_versions("evals-test-tfgrpo-seed0")) == 3
    for run in after.values():
        if tracking_module._RECORDED_TAG in run.data.tags:  # a process that was killed leaves rows without this mark
            client.delete_tag(run.info.run_id, tracking_module._RECORDED_TAG)
    recorded(rows)
    for run in after.values():
        for name in run.data.metrics:
            points = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            assert sorted(set(points)) == sorted(points), name


def test_a_store_that_is_not_there_costs_no_row_and_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    rows = [small_row("advising", make=make)]
    tracking = Tracking("evals-test", rows, tracking_uri=f"sqlite:///{tmp_path}/file/mlflow.db")
    study = run_study(rows, Harness(out=tmp_path / "out", num_threads=2, listeners=[tracking]))
    tracking.finish(study, tmp_path / "out", write_reports(study, tmp_path / "out"))
    assert study.results[0].error is None
    assert any("the run of advising, seed 0" in line for line in tracking.unrecorded)
    assert any("the comparison" in line for line in tracking.unrecorded)
