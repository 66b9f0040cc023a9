"""The compiled program as a model of MLflow: recorded without secrets, loaded, and served over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dspy
import mlflow
import pytest

from tests.tfgrpo_dspy.command_line import KEY, ROOT, files_with, problems, run, the_error
from tests.tfgrpo_dspy.loopback import PATIENCE, free_port, listens, until
from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import library_of
from tfgrpo_dspy.observers.mlflow import writer
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.simulated import running_server, simulated_lm

MINE = """
import dspy


def tidy(question):
    return question.strip()


class Mine(dspy.Module):
    def __init__(self):
        super().__init__()
        self.solve = dspy.ChainOfThought("question -> answer: float")

    def forward(self, question):
        return self.solve(question=tidy(question))


program = Mine()
"""
QUICK = ("--metric", "number", "--epochs", "1", "--group-size", "4")


def the_model(stdout: str) -> str:
    return next(word for word in stdout.split() if word.startswith("models:/"))


@contextmanager
def served(model: str, **more: str) -> Iterator[str]:
    """Address of `mlflow models serve` on a model of the store in the current folder."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where MLflow finds uvicorn
    given = {"MLFLOW_TRACKING_URI": "sqlite:///mlruns/mlflow.db", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **given, **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: server.poll() is not None or listens(port))
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def answered(address: str, question: str) -> dict[str, object]:
    body = json.dumps({"inputs": {"question": question}}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        return json.load(reply)["predictions"]


@pytest.mark.slow
def test_a_compiled_program_of_the_users_own_is_served_with_its_library():
    problems(train=12)
    Path("mine").mkdir()
    code = Path("mine/mine.py")
    code.write_text(MINE, encoding="utf-8")
    with running_server() as endpoint:
        options = ("--lm", "openai/simulated", "--api-base", endpoint, "--log-model")
        result = run("compile", f"{code}:program", "train.jsonl", *QUICK, *options, env={"OPENAI_API_KEY": KEY})
        assert result.exit_code == 0, result.output
        code.unlink()  # the server does not need it
        given = {"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": endpoint}
        question = json.loads(Path("train.jsonl").read_text("utf-8").splitlines()[0])["question"]
        with served(the_model(result.stdout), **given) as address:
            answer = answered(address, f"  {question}  ")
    assert isinstance(answer["answer"], float), "the answer is typed as the program's signature says"
    assert answer["reasoning"]
    assert "program.pkl" in {path.name for path in files_with("<experience-library>", Path("mlruns/artifacts"))}
    assert not files_with(KEY)
    assert not files_with(endpoint, Path("mlruns/artifacts"))


def test_a_model_is_recorded_once_without_keys_and_brings_its_lm():
    run = MadeRun(steps=1)
    secret = {"api_key": KEY, "api_base": "https://10.0.0.7/v1", "headers": {"X-T": "hush-hush"}}
    run.student.solve.lm = dspy.LM("openai/x", **secret)
    tracking = MLflowTracking(log_model=True, prompt="my.library")
    for _ in range(2):  # what is taken up after a kill announces its end again
        tracking = MLflowTracking(log_model=True, prompt="my.library", run_id=tracking.run_id)
        with dspy.context(lm=simulated_lm(seed=3)):
            for event in run.events():
                tracking(event)
        assert tracking.unrecorded == ()
    client = mlflow.MlflowClient(tracking_uri=tracking.store_uri)
    [model] = client.search_logged_models([tracking.experiment_id])
    assert (model.name, f"models:/{model.model_id}") == ("my-library", tracking.model_uri)
    assert not [path for secret in (KEY, "10.0.0.7", "hush-hush") for path in files_with(secret)]
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
    mlflow.set_tracking_uri(tracking.store_uri)
    loaded = mlflow.dspy.load_model(tracking.model_uri)
    assert loaded.solve.lm.model == "openai/x"
    assert dspy.settings.lm.model == "simulated/frozen-lm"
    assert len(library_of(loaded)) == 0, "the events that were made by hand return the student as it was"


def test_a_program_that_cannot_be_saved_is_said_to_be_unrecorded_however_long_that_took(monkeypatch):
    monkeypatch.setattr(writer, "_SLOW", 0.0)
    run = MadeRun(steps=1)
    run.student.lines = (line for line in "ab")
    tracking = MLflowTracking(log_model=True)
    for event in run.events():
        tracking(event)
    assert len(tracking.unrecorded) == 1
    assert tracking.unrecorded[0].startswith("the model: ")
    assert tracking.model_uri is None


def test_a_program_that_holds_a_key_is_not_recorded_as_a_model():
    run = MadeRun(steps=1)
    run.student.header = f"Bearer {KEY}"
    tracking = MLflowTracking(log_model=True)
    with dspy.context(lm=dspy.LM("openai/x", api_key=KEY)):
        for event in run.events():
            tracking(event)
    assert [line.partition(", so")[0] for line in tracking.unrecorded] == [
        "the model: ProgramError: the program itself holds a key, a header or an endpoint of its LM"
    ]
    assert not files_with(KEY)


def test_a_model_is_not_asked_for_where_nothing_is_recorded():
    problems()
    options = ("--lm", "simulated", "--log-model", "--no-tracking")
    result = run("compile", "programs.demo_world:solver", "train.jsonl", *QUICK, *options)
    assert result.exit_code == 2
    assert "--log-model" in the_error(result)
