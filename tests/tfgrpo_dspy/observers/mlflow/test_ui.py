"""Starting `mlflow ui` on a real store, and the ways in which it cannot start."""

from __future__ import annotations

import os
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy.errors import MissingExtraError, SettingsError
from tfgrpo_dspy.observers.mlflow import ui
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.observers.mlflow.ui import links_to, open_ui, ui_command


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder that looks like a store."""
    folder = tmp_path / "mlruns"
    folder.mkdir()
    (folder / "mlflow.db").touch()
    return folder


def option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def say(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Start this Python script in place of MLflow."""

    def command(store_dir: object, port: int = 5000, host: str = "127.0.0.1") -> ui.UICommand:
        return ui.UICommand([sys.executable, "-c", script, "--port", str(port)], dict(os.environ))

    monkeypatch.setattr(ui, "ui_command", command)


def test_the_command_names_the_store_absolutely(store):
    command = ui_command("mlruns", 5055, "127.0.0.1")
    assert command.argv[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert option(command.argv, "--backend-store-uri") == f"sqlite:///{store}/mlflow.db"
    assert option(command.argv, "--default-artifact-root") == (store / "artifacts").as_uri()
    assert (option(command.argv, "--port"), option(command.argv, "--host")) == ("5055", "127.0.0.1")


def test_the_command_needs_no_network(store):
    assert ui_command(store).env["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert ui_command(store).env["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_users_environment_goes_first(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    assert ui_command(store).env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "true"


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no MLflow store in .*nowhere: track a run first"):
        ui_command(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_folder_above_a_store_is_put_right(store, tmp_path):
    with pytest.raises(SettingsError, match=f"there is one in {store}"):
        ui_command(tmp_path)


def test_a_missing_mlflow_is_said(store, monkeypatch):
    monkeypatch.setattr(ui, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tfgrpo-dspy\[mlflow\]'"):
        ui_command(store)


def test_a_port_in_use_is_said_before_anything_is_started(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} on 127.0.0.1 cannot be used"):
            open_ui(store, port)


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_that_cannot_be_is_said(store, port):
    with pytest.raises(SettingsError, match=f"port {port} "):
        open_ui(store, port)


def test_a_server_that_dies_is_said_with_its_last_words(store, monkeypatch):
    say(monkeypatch, "import sys; print('one'); sys.exit('database is from a newer MLflow')")
    with pytest.raises(SettingsError, match=r"ended with code 1: .*newer MLflow"):
        open_ui(store, 0)


def test_a_server_that_never_listens_is_given_up_and_ended(store, monkeypatch, tmp_path):
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); print('hm', flush=True); time.sleep(9999)"
    say(monkeypatch, script)
    with pytest.raises(SettingsError, match=r"did not answer at http://127.0.0.1:\d+ within 3 s; it said: hm"):
        open_ui(store, 0, timeout=3)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_server_that_listens_everywhere_is_linked_to_here():
    assert [ui._reachable(host) for host in ("0.0.0.0", "::", "::1", "example.org")] == [
        "127.0.0.1",
        "[::1]",
        "[::1]",
        "example.org",
    ]


def test_links_without_a_run_lead_to_the_experiment():
    assert links_to("http://h", "7", None) == ("http://h/#/experiments/7/runs?compareRunsMode=CHART", None)


@pytest.mark.slow
def test_the_ui_shows_the_last_run_of_a_real_store(tmp_path):
    first, last = MLflowTracking("one"), MLflowTracking("two")
    for tracking in (first, last):
        for event in MadeRun(steps=1).events():
            tracking(event)
    with open_ui("mlruns", 0, timeout=PATIENCE) as running:
        assert running.links == last.links(running.url)
        assert running.find_links("one") == first.links(running.url)
        with pytest.raises(SettingsError, match="no experiment 'three' in this store, only Default, one, two"):
            running.find_links("three")
        with urllib.request.urlopen(running.url) as page:
            assert b"MLflow" in page.read()
        address = f"{running.url}/get-artifact?path=summary.md&run_uuid={last.run_id}"
        with urllib.request.urlopen(address) as page:
            assert b"# Training-Free GRPO of Solver" in page.read()
    assert running.process.returncode is not None
    running.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(running.url)
