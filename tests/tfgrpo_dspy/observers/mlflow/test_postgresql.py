"""A team's tracking server: `mlflow server` on PostgreSQL, artifacts through its proxy; started and ended here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.tfgrpo_dspy.loopback import PATIENCE, free_port, listens, until
from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

pytestmark = pytest.mark.slow
NOBODY = 65534
"""Who runs the database where tests are run by root, whom PostgreSQL refuses."""


def programs() -> Path:
    """Where PostgreSQL's programs are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))  # Debian leaves them out of the path
    here = found[-1] if found else shutil.which("postgres")
    if here is None:
        pytest.skip("PostgreSQL is not installed here: `apt-get install postgresql` brings it")
    return Path(here).parent


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a database of our own, in a folder of its own, which goes with it."""
    pytest.importorskip("psycopg2", reason="MLflow speaks to PostgreSQL by psycopg2: pip install psycopg2-binary")
    here, port = programs(), free_port()
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="tfgrpo-postgresql-"))
    if as_nobody:
        os.chown(folder, NOBODY, NOBODY)
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **as_nobody}
    try:
        made = [here / "initdb", "-D", folder / "data", "-U", "tests", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, **quiet)
        settings = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        place = ["-D", folder / "data", "-k", folder]
        server = subprocess.Popen([here / "postgres", *place, *settings], **quiet)
        try:
            until(lambda: listens(port))
            yield f"postgresql+psycopg2://tests@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast: it waits for no client
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tracking server on it, which hands artifacts on."""
    folder, port = tmp_path_factory.mktemp("team"), free_port()
    store = ["--backend-store-uri", database, "--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    running = subprocess.Popen(command, cwd=folder, env=environment, **quiet)
    try:
        until(lambda: listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(running.pid, 9)
        running.wait()


def test_a_run_is_recorded_whole_on_a_teams_server(server):
    made = MadeRun(steps=2, queries=3, group_size=3)
    tracking = MLflowTracking("team", tracking_uri=server, traces=1)
    tracking.check()
    for event in made.events():
        tracking(event)
    assert tracking.unrecorded == ()
    client = mlflow.MlflowClient(tracking_uri=server)
    run = client.get_run(tracking.run_id)
    assert (run.info.status, run.data.tags["tfgrpo.state"]) == ("FINISHED", "done")
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert [m.step for m in client.get_metric_history(tracking.run_id, "reward/mean")] == [1, 2]
    assert run.data.params["seed"] == "0"
    found = {
        file.path
        for folder in ("library", "tables", "figures")
        for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert found >= {"library/returned.json", "tables/rollouts_step_01.json", "figures/learning_curve.png"}
    assert [version.name for version in client.search_prompts()] == ["team-Solver"]
    (first, *_) = client.search_traces(locations=[tracking.experiment_id])
    assert first.info.trace_metadata["mlflow.sourceRun"] == tracking.run_id


def test_what_it_already_has_of_a_run_is_not_there_twice(server):
    made = MadeRun(steps=1, queries=2, group_size=2, validated=False)
    times = [(1_700_000_000_000 + i, event) for i, event in enumerate(made.events())]
    first = MLflowTracking("again", tracking_uri=server, traces=0)
    assert first.record(times)
    again = MLflowTracking("again", tracking_uri=server, run_id=first.run_id, traces=0)
    assert again.record(times)
    client = mlflow.MlflowClient(tracking_uri=server)
    assert len(client.search_runs([first.experiment_id])) == 1
    for name in ("reward/mean", "total/lm_calls"):
        assert len(client.get_metric_history(first.run_id, name)) == 1
