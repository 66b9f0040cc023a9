"""MLflow tracking against real stores: SQLite files, and an `mlflow server` on loopback that comes and goes."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dspy
import mlflow
import pytest
from dspy.teleprompt import Teleprompter
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from tests.tfgrpo_dspy.loopback import PATIENCE, free_port, listens, until
from tests.tfgrpo_dspy.made_events import MadeRun, examples
from tfgrpo_dspy.errors import MissingExtraError, SettingsError
from tfgrpo_dspy.history.file import parse_history
from tfgrpo_dspy.history.of_run import history_of
from tfgrpo_dspy.library.file import parse_library
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.metrics import step_metrics
from tfgrpo_dspy.observers.mlflow import database, store, writer
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.events import Event, RunFinished, RunStarted, StepFinished
from tfgrpo_dspy.records.rollouts import Lost, Rollout
from tfgrpo_dspy.reports.redaction import Redactor

in_a_ready_store = pytest.mark.usefixtures("ready_store")


def follow(tracking: MLflowTracking, run: MadeRun, *, error: BaseException | None = None) -> MLflowTracking:
    for event in run.events(error=error):
        tracking(event)
    return tracking


def client_of(tracking: MLflowTracking) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking.store_uri)


def run_of(tracking: MLflowTracking) -> mlflow.entities.Run:
    return client_of(tracking).get_run(tracking.run_id)


def artifact(tracking: MLflowTracking, path: str) -> str:
    folder = run_of(tracking).info.artifact_uri.removeprefix("file://")
    return (Path(folder) / path).read_text(encoding="utf-8")


def table(tracking: MLflowTracking, name: str) -> list[dict[str, object]]:
    content = json.loads(artifact(tracking, name))
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def values(tracking: MLflowTracking, metric: str) -> dict[int, float]:
    return {m.step: m.value for m in client_of(tracking).get_metric_history(tracking.run_id, metric)}


def paths(tracking: MLflowTracking, folder: str) -> list[str]:
    return [f.path for f in client_of(tracking).list_artifacts(tracking.run_id, folder)]


# A complete run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MLflowTracking, MadeRun]]:
    folder = tmp_path_factory.mktemp("recorded")
    before = Path.cwd()
    os.chdir(folder)
    try:
        run = MadeRun()
        yield follow(MLflowTracking("algebra", tags={"team": "x"}), run), run
    finally:
        os.chdir(before)


def test_a_run_goes_to_the_store_below_the_current_folder(tmp_path):
    tracking = follow(MLflowTracking(), MadeRun(steps=1))
    assert tracking.unrecorded == ()
    assert tracking.store_uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert (tmp_path / "mlruns/artifacts" / tracking.run_id / "artifacts/summary.md").is_file()
    assert client_of(tracking).get_experiment(tracking.experiment_id).name == "tfgrpo"


def test_a_folder_with_blanks_and_umlauts_can_hold_the_store(tmp_path, monkeypatch):
    folder = tmp_path / "größe 100% x"
    folder.mkdir()
    monkeypatch.chdir(folder)
    tracking = follow(MLflowTracking(), MadeRun(steps=1))
    assert tracking.unrecorded == ()
    assert (folder / "mlruns/artifacts" / tracking.run_id / "artifacts/summary.md").is_file()


def test_parameters_say_what_decided_the_run(recorded):
    params = run_of(recorded[0]).data.params
    expected = {"epochs": "3", "group_size": "5", "seed": "0", "lm.policy": "simulated/frozen", "trainset.size": "8"}
    assert expected.items() <= params.items()
    assert params["version.dspy"].startswith("3.")
    assert params["version.mlflow"] == mlflow.__version__
    assert params["student"].endswith("Solver")


def test_tags_say_where_the_run_comes_from(recorded):
    tags = run_of(recorded[0]).data.tags
    assert {"simulated": "true", "team": "x", "best_step": "3", "tfgrpo.state": "done"}.items() <= tags.items()
    assert tags["mlflow.user"]
    assert tags["mlflow.source.name"]
    assert "cost" not in tags
    assert run_of(recorded[0]).info.status == "FINISHED"


@in_a_ready_store
def test_the_commit_is_recorded_inside_a_repository(tmp_path):
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    tags = run_of(follow(MLflowTracking(), MadeRun(steps=0))).data.tags
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["git.dirty"] == "false"


def test_every_step_has_all_its_metrics(recorded):
    tracking, run = recorded
    for record in run.records:
        for name, value in step_metrics(record, run.settings).items():
            assert values(tracking, name)[record.step] == pytest.approx(value), name
    assert values(tracking, "reward/mean").keys() == {1, 2, 3}


def test_the_reward_is_the_mean_over_queries_with_its_interval(recorded):
    tracking, run = recorded
    rewards = [g.rewards for g in run.records[0].groups]
    mean = values(tracking, "reward/mean")[1]
    assert mean == pytest.approx(sum(sum(r) / len(r) for r in rewards) / len(rewards))
    assert values(tracking, "reward/mean_low")[1] < mean < values(tracking, "reward/mean_high")[1]
    assert values(tracking, "reward/pass_at_g")[1] == sum(max(r) == 1 for r in rewards) / len(rewards)


def test_validation_starts_before_the_first_step(recorded):
    tracking, run = recorded
    assert values(tracking, "validation/mean")[0] == run.initial.mean.value
    assert values(tracking, "validation/mean_high").keys() == {0, 1, 2, 3}


def test_counts_add_up(recorded):
    tracking, run = recorded
    metrics = step_metrics(run.records[0], run.settings)
    kinds = ("informative", "all_right", "all_wrong", "otherwise_equal", "too_few")
    assert sum(metrics[f"groups/{k}"] for k in kinds) == 8
    assert sum(metrics[f"rollouts/{k}"] for k in ("ok", "policy_failed", "lost")) == 40
    assert metrics["rollouts/lost"] == metrics["rollouts/policy_failed"] == 1
    assert metrics["usage/lm_calls"] == 92  # 40 + 12 + 40 of the validation
    assert run_of(tracking).data.metrics["total/lm_calls"] == 3 * 92 + 40


@in_a_ready_store
def test_an_unknown_price_is_no_zero():
    tracking = follow(MLflowTracking(), MadeRun(steps=1, cost=None))
    run = run_of(tracking)
    assert not [name for name in run.data.metrics if "cost" in name]
    assert run.data.tags["cost"] == "unknown"
    assert "| unknown |" in artifact(tracking, "summary.md")


@in_a_ready_store
def test_a_known_price_is_recorded():
    tracking = follow(MLflowTracking(), MadeRun(steps=1, cost=0.01))
    assert values(tracking, "usage/cost_usd")[1] == pytest.approx(0.92)


def test_operations_are_a_table_with_their_evidence(recorded):
    rows = table(recorded[0], "tables/operations_step_01.json")
    assert [(r["operation"], r["id"], r["outcome"]) for r in rows] == [
        ("add", "G0", "done"),
        ("add", "G1", "done"),
        ("delete", "G99", "refused: there is no G99"),
    ]
    assert rows[0]["sources"].startswith("e0 (s1/e0/r0, s1/e0/r1")
    assert rows[0]["after"].startswith("When a price rises")


def test_rollouts_are_a_table_with_the_lost_in_it(recorded):
    rows = {r["rollout"]: r for r in table(recorded[0], "tables/rollouts_step_02.json")}
    assert len(rows) == 40
    lost, failed = rows["s2/e2/r0"], rows["s2/e3/r1"]
    assert lost["reward"] is None
    assert lost["outcome"].startswith("lost (infrastructure): LMTimeoutError")
    assert (failed["reward"], failed["outcome"]) == (0.0, "policy failed: AdapterParseError: no field `answer`")
    assert rows["s2/e0/r0"]["inputs"] == "question: What is 0 + 0? Give $x$."


def test_mlflow_itself_reads_our_tables(recorded):
    tracking, _ = recorded
    mlflow.set_tracking_uri(tracking.store_uri)
    read = client_of(tracking).load_table(tracking.experiment_id, "tables/rollouts_step_01.json", [tracking.run_id])
    assert len(read) == 40


@in_a_ready_store
def test_a_tag_that_lists_tables_stays_whole_json_in_a_long_run(monkeypatch):
    monkeypatch.setattr(store, "_TAG_ROOM", 800)
    tracking = follow(MLflowTracking(traces=0), MadeRun(steps=7, queries=1, group_size=2, validated=False))
    listed = json.loads(run_of(tracking).data.tags["mlflow.loggedArtifacts"])
    assert listed[-1]["path"] == "tables/advantages_step_07.json"
    assert 5 < len(listed) < 15


def test_each_epoch_leaves_its_library_and_what_changed(recorded):
    tracking, run = recorded
    assert parse_library(artifact(tracking, "library/epoch_02.json")) == run.records[1].library
    assert parse_library(artifact(tracking, "library/latest.json")) == run.records[2].library
    assert parse_library(artifact(tracking, "library/returned.json")) == run.result.library
    assert parse_history(artifact(tracking, "library/history.jsonl")) == history_of(run.result)
    assert "**G0**" in artifact(tracking, "library/epoch_01.md")
    changes = artifact(tracking, "library/epoch_03.diff.txt").splitlines()
    assert [line[:6] for line in changes] == ["- [G0]", "+ [G0]", "- [G1]", "+ [G3]"]


def test_the_end_leaves_a_figure_and_a_summary(recorded):
    tracking, _ = recorded
    assert paths(tracking, "figures") == ["figures/learning_curve.png"]
    summary = artifact(tracking, "summary.md")
    assert "**Simulated LM.**" in summary
    assert "The library after step 3 did best on the validation examples (0." in summary
    assert "| summary | s1/e1/r0 | no reply | the shortened trajectory was used |" in summary
    assert "learned in step 1" in summary


@in_a_ready_store
def test_datasets_are_known_by_content():
    one, same, other = (follow(MLflowTracking(), MadeRun(steps=0, queries=n)) for n in (3, 3, 4))
    inputs = [run_of(t).inputs.dataset_inputs for t in (one, same, other)]
    digests = [{i.dataset.name: i.dataset.digest for i in found} for found in inputs]
    assert digests[0] == digests[1]
    assert digests[0]["trainset"] != digests[2]["trainset"]
    assert {t.value for i in inputs[0] for t in i.tags} == {"training", "validation"}
    assert table(one, "data/trainset.json")[2] == {"name": "e2", "question": "What is 2 + 2? Give $x$.", "answer": "4"}


@in_a_ready_store
def test_two_runs_can_be_compared():
    runs = [follow(MLflowTracking("duel"), MadeRun(seed=seed, steps=1)) for seed in (0, 1)]
    found = client_of(runs[0]).search_runs([runs[0].experiment_id], "metrics.`reward/mean` > 0")
    assert {r.info.run_id for r in found} == {t.run_id for t in runs}
    assert found[0].data.metrics.keys() == found[1].data.metrics.keys()
    assert {r.data.params["seed"] for r in found} == {"0", "1"}


def test_links_lead_to_charts_and_run(recorded):
    tracking, _ = recorded
    runs = f"http://h:1/#/experiments/{tracking.experiment_id}/runs"
    assert tracking.links("http://h:1/") == (f"{runs}?compareRunsMode=CHART", f"{runs}/{tracking.run_id}/model-metrics")


def test_there_are_no_links_before_there_is_a_run():
    with pytest.raises(SettingsError, match="no run has been recorded"):
        MLflowTracking().links("http://h")


def test_an_experiment_needs_a_name():
    with pytest.raises(SettingsError, match="experiment must be the name"):
        MLflowTracking("  ")


def test_a_missing_mlflow_is_said_before_anything_is_paid(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tfgrpo-dspy\[mlflow\]'"):
        MLflowTracking()


@in_a_ready_store
def test_a_missing_matplotlib_costs_the_figure_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    tracking = follow(MLflowTracking(), MadeRun(steps=1))
    assert [u.partition(":")[0] for u in tracking.unrecorded] == ["figures/learning_curve.png"]
    assert run_of(tracking).info.status == "FINISHED"


@in_a_ready_store
@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_that_an_error_stopped_is_a_failed_one(steps):
    tracking = follow(MLflowTracking(), MadeRun(steps=steps, validated=False), error=RuntimeError("no\ncredit"))
    run = run_of(tracking)
    assert tracking.unrecorded == ()
    assert (run.info.status, run.data.tags["tfgrpo.state"]) == ("FAILED", "stopped by an error")
    assert run.data.tags["ended"].startswith("Stopped by an error ")
    assert "RuntimeError: no credit." in run.data.tags["ended"]
    assert run.data.tags["ended"] in artifact(tracking, "summary.md")


ENDED = Ended("limit", "max_lm_calls=60: 55 were made", 1, 3, "2 steps")


@in_a_ready_store
def test_a_run_that_a_limit_ended_is_told_from_a_complete_one():
    *events, last = MadeRun(steps=1).events()
    tracking = MLflowTracking()
    for event in (*events, replace(last, result=replace(last.result, ended=ENDED))):
        tracking(event)
    run = run_of(tracking)
    assert (run.info.status, run.data.tags["tfgrpo.state"]) == ("KILLED", "stopped by a limit")
    said = "Stopped by max_lm_calls=60 after step 1 of 3. max_lm_calls=60: 55 were made. Not done: 2 steps."
    assert said in run.data.tags["mlflow.note.content"]
    assert said in artifact(tracking, "summary.md")
    assert run.data.tags["ended"] == said


def test_a_group_that_was_lost_whole_leaves_no_false_reward():
    run = MadeRun(steps=1, queries=3, group_size=1)
    lost = run.records[0].groups[2]
    record = replace(run.records[0], groups=(lost,), validation=None)
    metrics = step_metrics(record, run.settings)
    assert metrics["rollouts/lost"] == 1
    assert "reward/mean" not in metrics
    assert not any(math.isnan(v) for v in metrics.values())


# Where to record


def test_the_store_that_the_user_has_set_is_used(tmp_path):
    uri = f"sqlite:///{tmp_path}/mine.db"
    mlflow.set_tracking_uri(uri)
    tracking = follow(MLflowTracking(), MadeRun(steps=0))
    assert tracking.store_uri == uri
    assert not (tmp_path / "mlruns/mlflow.db").exists()


def test_the_environments_store_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/env.db")
    assert follow(MLflowTracking(), MadeRun(steps=0)).store_uri == f"sqlite:///{tmp_path}/env.db"


def test_the_active_run_is_joined_and_stays_open(tmp_path):
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mine.db")
    with mlflow.start_run() as active:
        mlflow.log_param("epochs", "of my own")
        tracking = follow(MLflowTracking(run_name="unused"), MadeRun(steps=1))
        assert mlflow.active_run().info.run_id == active.info.run_id
        assert run_of(tracking).info.status == "RUNNING"
    params = run_of(tracking).data.params
    assert (tracking.run_id, tracking.unrecorded) == (active.info.run_id, ())
    assert (params["epochs"], params["tfgrpo.epochs"]) == ("of my own", "1")
    assert run_of(tracking).info.status == "FINISHED"


def test_a_second_compile_in_an_active_run_becomes_its_child(tmp_path):
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mine.db")
    with mlflow.start_run() as active:
        first = follow(MLflowTracking(), MadeRun(steps=1))
        second = follow(MLflowTracking(), MadeRun(steps=1, seed=1))
    assert first.run_id == active.info.run_id != second.run_id
    assert run_of(second).data.tags["mlflow.parentRunId"] == active.info.run_id
    assert run_of(second).info.status == "FINISHED"


def test_an_asked_for_store_is_used_despite_an_active_run_elsewhere(tmp_path):
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mine.db")
    with mlflow.start_run() as active:
        tracking = follow(MLflowTracking(tracking_uri=f"sqlite:///{tmp_path}/other.db"), MadeRun(steps=0))
    assert tracking.run_id != active.info.run_id


@in_a_ready_store
@pytest.mark.parametrize("torn", [False, True], ids=["between-steps", "between-the-metrics-and-the-tags-of-a-step"])
def test_a_resumed_run_continues_without_repeating_steps(torn, monkeypatch):
    run = MadeRun()
    first = MLflowTracking()
    with monkeypatch.context() as patch:
        for event in run.events():
            if isinstance(event, StepFinished) and event.record.step == 3:
                break  # the process is killed here
            if torn and isinstance(event, StepFinished) and event.record.step == 2:
                assert first.retry()
                patch.delattr(SqlAlchemyStore, "_set_tags")
            first(event)
        assert first.retry() is not torn
    again = follow(MLflowTracking(run_id=first.run_id), run)
    assert (again.run_id, again.unrecorded) == (first.run_id, ())
    history = client_of(again).get_metric_history(again.run_id, "reward/mean")
    assert [m.step for m in history] == [1, 2, 3]
    assert run_of(again).info.status == "FINISHED"


def test_autolog_and_we_share_one_run(tmp_path):
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mine.db")
    tracking = MLflowTracking()

    class MadeOptimizer(Teleprompter):
        def compile(self, student: dspy.Module, *, trainset: list[dspy.Example], seed: int = 0) -> dspy.Module:
            follow(tracking, MadeRun(steps=1, seed=seed))
            return student

    mlflow.dspy.autolog(log_compiles=True, log_evals=True)
    try:
        MadeOptimizer().compile(dspy.Predict("q -> a"), trainset=list(examples(2)), seed=7)
    finally:
        mlflow.dspy.autolog(disable=True)
    run = run_of(tracking)
    assert tracking.unrecorded == ()
    assert len(client_of(tracking).search_runs([tracking.experiment_id])) == 1
    assert run.data.params["seed"] == "7"
    assert {"best_model.json", "summary.md"} <= set(paths(tracking, ""))
    assert run.info.status == "FINISHED"


def test_several_processes_can_create_the_store_at_once(tmp_path):
    script = (
        "from tests.tfgrpo_dspy.made_events import MadeRun\n"
        "from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking\n"
        "tracking = MLflowTracking()\n"
        "for event in MadeRun(steps=1).events(): tracking(event)\n"
        "assert not tracking.unrecorded, tracking.unrecorded\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors.decode()


# Secrets


def leaking(rollout: Rollout, leak: str) -> Rollout:
    return replace(rollout, error=leak) if isinstance(rollout, Lost) else replace(rollout, feedback=leak)


@in_a_ready_store
def test_no_credential_reaches_the_store(tmp_path):
    key, header, base = "my-very-own-credential", "tenant-password-77", "https://10.0.0.7:4000/v1"
    lm = dspy.LM("openai/x", api_key=key, api_base=base, headers={"X-Tenant": header})
    run = MadeRun(steps=1)
    run.student.solve.lm = lm
    leak = f"AuthError: {key} at {base} with Bearer abcdef123456 and sk-proj-1234567890abcd, X-Tenant {header}"
    groups = [replace(g, rollouts=tuple(leaking(r, leak) for r in g.rollouts)) for g in run.records[0].groups]
    run.records[0] = replace(run.records[0], groups=tuple(groups))
    run.start = replace(run.start, settings=replace(run.settings, objective=f"Use {key}"))
    tracking = follow(MLflowTracking(), run, error=RuntimeError(leak))
    assert tracking.unrecorded == ()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "mlruns").rglob("*") if path.is_file())
    assert b"[redacted]" in stored
    for secret in (key, header, base, "abcdef123456", "sk-proj-1234567890abcd"):
        assert secret.encode() not in stored, secret


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key=sk-abcdefgh12345678.", "key=[redacted]."),
        ('{"api_key": "abcdef", "n": 3}', '{"api_key": "[redacted]", "n": 3}'),
        ("postgresql://me:pass@host/db", "postgresql://[redacted]@host/db"),
        ("Authorization: Bearer eyJhbGciOi", "Authorization: Bearer [redacted]"),
        ("api_base=https://gateway/v1 x", "api_base=[redacted] x"),
        ("the key idea: a token is 3 words; risk-adjusted; task-oriented", None),
        ("2 + 2 = 4, password protected", None),
    ],
)
def test_likely_credentials_are_found_by_shape_and_prose_is_left_alone(text, expected):
    assert Redactor()(text) == (text if expected is None else expected)
    assert Redactor()(Redactor()(text)) == Redactor()(text)


# When MLflow fails


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Seconds that MLflow waited between its attempts to open a database: by itself it tries ten times, over 100 s."""
    waited: list[float] = []
    monkeypatch.setattr("mlflow.store.db.utils.time", SimpleNamespace(sleep=waited.append))
    return waited


def test_a_store_that_cannot_be_read_stops_nothing_and_is_said(tmp_path, caplog, pauses):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/mlflow.db").write_bytes(b"this is no database, and long enough to be taken for one" * 40)
    tracking = MLflowTracking()
    with caplog.at_level(logging.WARNING, "tfgrpo_dspy"):
        follow(tracking, MadeRun(steps=2))
    assert not pauses
    first, rest = tracking.unrecorded
    assert first.startswith("the run itself: DatabaseError: (sqlite3.DatabaseError) file is not a")
    assert rest.endswith("more, parameters to the end of the run (FINISHED): not tried yet")
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "MLflow does not record now, the run goes on and records are kept",
        "MLflow has no record of",
    ]


def test_a_database_that_cannot_be_opened_is_found_out_at_once(tmp_path, pauses):
    (tmp_path / "mlruns/mlflow.db").mkdir(parents=True)
    tracking = MLflowTracking()
    tracking(MadeRun(steps=1).start)
    assert not tracking.retry()
    assert not pauses
    assert "unable to open database file" in tracking.unrecorded[0]


def test_what_failed_is_written_in_order_when_the_store_is_back(tmp_path):
    home = tmp_path / "mlruns"
    home.write_text("a file where the folder should be")
    tracking, run = MLflowTracking(), MadeRun()
    events = list(run.events())
    for event in events[:-1]:
        tracking(event)
    assert not tracking.retry()
    assert tracking.run_id is None
    home.unlink()
    tracking(events[-1])
    assert tracking.unrecorded == ()
    assert values(tracking, "reward/mean").keys() == {1, 2, 3}
    assert run_of(tracking).info.status == "FINISHED"
    history = client_of(tracking).get_metric_history(tracking.run_id, "reward/mean")
    assert [m.timestamp for m in history] == sorted(m.timestamp for m in history)


@in_a_ready_store
def test_one_refused_write_does_not_hold_up_the_others(monkeypatch):
    put_table = store.RunStore.put_table

    def refuse(self: store.RunStore, path: str, content: dict[str, list[object]]) -> None:
        if "operations" in path:
            raise OSError("disk full")
        put_table(self, path, content)

    monkeypatch.setattr(store.RunStore, "put_table", refuse)
    tracking = follow(MLflowTracking(), MadeRun(steps=2))
    assert tracking.unrecorded == (
        "tables/operations_step_01.json: OSError: disk full",
        "tables/operations_step_02.json: OSError: disk full",
    )
    assert run_of(tracking).info.status == "FINISHED"
    monkeypatch.undo()
    assert tracking.retry()
    assert table(tracking, "tables/operations_step_02.json")


@in_a_ready_store
def test_what_was_written_twice_is_there_once(monkeypatch):
    put_metrics = store.RunStore.put_metrics

    def write_but_lose_the_answer(self: store.RunStore, metrics: dict[str, float], **more: object) -> None:
        put_metrics(self, metrics, **more)
        if more["step"] not in answered:
            answered.add(more["step"])
            raise TimeoutError("no answer")

    answered: set[object] = set()
    monkeypatch.setattr(store.RunStore, "put_metrics", write_but_lose_the_answer)
    tracking = follow(MLflowTracking(), MadeRun(steps=2, validated=False))
    assert tracking.retry()
    assert len(client_of(tracking).get_metric_history(tracking.run_id, "reward/mean")) == 2


@in_a_ready_store
def test_a_step_that_a_limit_cut_short_is_recorded_again_once_it_is_whole():
    run, first = MadeRun(steps=2), MLflowTracking()
    lost = Lost("s2/e0/r0", "budget", "max_lm_calls=9", Usage(), 0.0)
    group, *others = run.records[1].groups
    cut = replace(run.records[1], groups=(replace(group, rollouts=(lost, *group.rollouts[1:])), *others))
    for event in run.events():
        is_cut = isinstance(event, StepFinished) and event.record.step == 2
        first(StepFinished(cut) if is_cut else event)
    again = follow(MLflowTracking(run_id=first.run_id), run)
    whole = step_metrics(run.records[1], run.settings)["rollouts/lost"]
    assert run_of(again).data.metrics["rollouts/lost"] == whole
    assert len(client_of(again).get_metric_history(again.run_id, "rollouts/lost")) == 3


@in_a_ready_store
def test_what_a_later_process_records_again_stands_once():
    run, tracking = MadeRun(steps=2), MLflowTracking()
    for _ in range(2):
        follow(tracking, run).record_heldout({"bare": run.evaluation(0), "learned": run.evaluation(1)})
        tracking = MLflowTracking(run_id=tracking.run_id)
    for name in run_of(tracking := follow(tracking, run)).data.metrics:
        points = [(m.step, m.value) for m in client_of(tracking).get_metric_history(tracking.run_id, name)]
        assert sorted(set(points)) == sorted(points), name


def test_an_event_before_the_start_is_passed_over():
    tracking = MLflowTracking()
    tracking(next(e for e in MadeRun(steps=1).events() if isinstance(e, StepFinished)))
    assert tracking.unrecorded == ()


@in_a_ready_store
def test_tracking_can_be_used_again_for_another_run():
    tracking = MLflowTracking()
    first = follow(tracking, MadeRun(steps=1)).run_id
    second = follow(tracking, MadeRun(steps=1, seed=1)).run_id
    assert first != second
    assert len(client_of(tracking).search_runs([tracking.experiment_id])) == 2


def test_bounds_on_waiting_leave_the_users_own_alone(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with database.bounded_waiting():
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """A real tracking server, as a team would have."""
    folder.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder}/team.db",
        "--artifacts-destination",
        f"{folder}/team",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: listens(port))
        yield
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def accept(listening: socket.socket, accepted: list[object]) -> None:
    with suppress(OSError):
        while True:
            accepted.append(listening.accept())


def test_a_server_that_accepts_and_never_answers_is_asked_a_few_times_and_not_at_each_event(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        accepted: list[object] = []
        threading.Thread(target=accept, args=(silent, accepted), daemon=True).start()
        tracking = follow(MLflowTracking(tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}"), MadeRun(steps=9))
    assert 1 <= len(accepted) <= 4, "at the start and at the end, not at each of 27 events between"
    assert tracking.unrecorded[0].startswith("the run itself: MlflowException: API request to http://127.0.0.1")


@in_a_ready_store
def test_a_store_that_fails_slowly_is_left_alone_until_the_end(monkeypatch):
    monkeypatch.setattr(writer, "_SLOW", 0.0)
    monkeypatch.setattr(writer, "_PATIENCE", 1e9)
    asked = []

    def be_locked(self: store.RunStore, path: str, content: object) -> None:
        asked.append(path)
        raise TimeoutError("database is locked")

    with monkeypatch.context() as locked:
        locked.setattr(store.RunStore, "put_table", be_locked)
        run, tracking = MadeRun(steps=2), MLflowTracking()
        first, *events, last = run.events()
        tracking(first)
        tracking.retry()
        before = len(asked)
        for event in events:
            tracking(event)
    assert asked == ["data/trainset.json"] * before
    assert tracking.unrecorded[0] == "data/trainset.json: TimeoutError: database is locked"
    tracking(last)
    assert tracking.unrecorded == ()
    assert values(tracking, "reward/mean").keys() == {1, 2}


@pytest.mark.slow
def test_a_server_that_is_down_at_first_gets_everything_once_it_is_up(tmp_path):
    port = free_port()
    tracking, run = MLflowTracking(tracking_uri=f"http://127.0.0.1:{port}"), MadeRun()
    events = list(run.events())
    half = next(i for i, e in enumerate(events) if isinstance(e, StepFinished) and e.record.step == 2)
    for event in events[:half]:
        tracking(event)
    assert tracking.unrecorded
    with mlflow_server(tmp_path / "server", port):
        for event in events[half:]:
            tracking(event)
        assert tracking.unrecorded == ()
        assert values(tracking, "reward/mean").keys() == {1, 2, 3}
        assert "library/epoch_01.md" in paths(tracking, "library")
        assert run_of(tracking).info.status == "FINISHED"
        assert run_of(tracking).info.artifact_uri.startswith("mlflow-artifacts:")


@pytest.mark.slow
def test_a_server_that_goes_away_leaves_a_list_of_what_is_missing(tmp_path, caplog):
    port = free_port()
    tracking, run = MLflowTracking(tracking_uri=f"http://127.0.0.1:{port}"), MadeRun(steps=2)
    events = list(run.events())
    with mlflow_server(tmp_path / "server", port):
        for event in events[: len(events) // 2]:
            tracking(event)
        assert tracking.retry()
    with caplog.at_level(logging.WARNING, "tfgrpo_dspy"):
        for event in events[len(events) // 2 :]:
            tracking(event)
    assert "the end of the run (FINISHED): not tried yet" in tracking.unrecorded[-1]
    assert "MLflow has no record of: " in caplog.text
    with mlflow_server(tmp_path / "server", port):
        assert tracking.retry()
        assert run_of(tracking).info.status == "FINISHED"


@in_a_ready_store
def test_only_events_are_read(recorded):
    _, run = recorded
    kept: list[Event] = [e for e in run.events() if isinstance(e, RunStarted | RunFinished)]
    before = repr(kept[0].settings), dict(kept[0].lms), len(run.student.predictors())
    follow(MLflowTracking(), run)
    assert (repr(kept[0].settings), dict(kept[0].lms), len(run.student.predictors())) == before
