"""`tfgrpo demo`, the help, and the two servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import process_environment, run, started, the_error
from tests.tfgrpo_dspy.loopback import PATIENCE, free_port, listens, until
from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import read_library
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

COMMANDS = ("demo", "compile", "evaluate", "simulate", "ui")
LIBRARY_COMMANDS = tuple("show diff export import log blame rollback commit edit add delete pin unpin".split())
SMALL = ("--examples", "24", "--held-out", "24", "--epochs", "2", "--no-tracking")
TINY = ("--examples", "6", "--held-out", "2", "--epochs", "1")


def test_the_demo_shows_a_gain_and_says_that_it_is_simulated():
    result = run("demo", *SMALL)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "SIMULATED" in text
    assert "Did it help? (simulated)" in text
    assert "Gain on held-out questions: +" in text
    assert "paired over 24 questions: better" in text
    assert "24 x 5" in text
    assert len(read_library("out/demo/library.json"))
    report = Path("out/demo/report.md").read_text(encoding="utf-8")
    assert "Gain on held-out questions: +" in report
    assert "Simulated LM" in report


def test_the_demo_learns_the_same_library_from_the_same_seed():
    for folder in ("one", "two"):
        run("demo", "--no-tracking", *TINY, "--out", folder, "--num-threads", "1" if folder == "one" else "8")
    run("demo", "--no-tracking", *TINY, "--out", "three", "--seed", "1")
    one, two, three = (Path(folder, "library.json").read_bytes() for folder in ("one", "two", "three"))
    assert one == two != three


@pytest.mark.slow
def test_the_demo_is_recorded_by_mlflow():
    result = run("demo", *TINY)
    assert result.exit_code == 0, result.output
    assert "to look at it: tfgrpo ui" in " ".join(result.stdout.split())
    assert Path("mlruns/mlflow.db").is_file()
    elsewhere = run("demo", *TINY, "--tracking-uri", "sqlite:///other.db", "--experiment", "mine")
    assert "mlflow ui --backend-store-uri sqlite:///other.db" in " ".join(elsewhere.stdout.split())


def test_without_mlflow_the_demo_runs_untracked_and_says_so(monkeypatch):
    monkeypatch.setattr("tfgrpo_dspy.cli.compile.find_spec", lambda name: None)
    result = run("demo", *TINY)
    assert result.exit_code == 0, result.output
    assert "MLflow is not installed, so the run is not tracked" in result.stderr


@pytest.mark.parametrize(
    "arguments", [f"--{name} 0" for name in ("examples", "held-out", "epochs", "group-size", "num-threads")]
)
def test_the_demo_refuses_what_it_cannot_do(arguments):
    result = run("demo", "--no-tracking", *arguments.split())
    assert the_error(result)
    assert result.exit_code == 2


@pytest.mark.parametrize("command", [(c,) for c in COMMANDS] + [("library", c) for c in LIBRARY_COMMANDS])
def test_every_command_shows_an_example(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example: " in result.output


def test_the_version_is_shown():
    assert run("--version").output.startswith("tfgrpo-dspy 0.")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from tfgrpo_dspy.cli import main\n"
        "sys.argv = ['tfgrpo', 'compile', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'mlflow', 'litellm', 'datasets', 'scipy', 'dspy'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=process_environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("server", "last"), [("simulate", "Try it: "), ("ui", "compareRunsMode=CHART")])
def test_a_server_says_where_it_is_and_ends_quietly(server, last):
    if server == "ui":
        tracking = MLflowTracking()
        for event in MadeRun(steps=1).events():
            tracking(event)
    port = free_port()
    process = started(server, "--port", str(port), PYTHONUNBUFFERED="1", COLUMNS="200")
    said = ""
    while last not in said and (line := process.stdout.readline()):
        said += line
    until(lambda: process.poll() is not None or listens(port))
    process.send_signal(signal.SIGINT)
    said += "".join(process.communicate(timeout=PATIENCE))
    assert f"http://127.0.0.1:{port}" in said
    assert "Traceback" not in said
    assert server == "ui" or "SIMULATED" in said
    assert process.returncode in (0, 130), said


def test_a_port_that_is_taken_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("simulate", "--port", str(taken.getsockname()[1]))
    assert "cannot be used" in the_error(result)
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "arguments", ["ui", "ui --dir nowhere", "simulate --latency-median -1", "simulate --port 99999"]
)
def test_servers_that_cannot_start_say_why(arguments):
    result = run(*arguments.split())
    assert the_error(result)
    assert result.exit_code == 2
    assert not os.path.exists("mlruns")
