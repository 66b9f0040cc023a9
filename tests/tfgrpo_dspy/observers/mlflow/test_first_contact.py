"""Before a run is paid: a store that will never record is told, a new one is whole or not there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.made_events import MadeRun
from tests.tfgrpo_dspy.scripted import exact, examples
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.observers.mlflow.database import prepared, why_for_good
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

mlflow = pytest.importorskip("mlflow")

STORE = Path("mlruns/mlflow.db")


def uri() -> str:
    return f"sqlite:///{STORE.resolve().as_posix()}"


@pytest.fixture(autouse=True)
def told_nothing(monkeypatch):
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)


def asked_nothing(*args, **kwargs):
    raise AssertionError("a call was made")


def compiled(**given):
    lm = dspy.LM("openai/never-asked", api_key="x", api_base="http://127.0.0.1:9/v1")
    with dspy.context(lm=lm):
        return TrainingFreeGRPO(exact, display_progress=False, **given).compile(
            dspy.Predict("question -> answer"), examples(1)
        )


class Ended(BaseException):
    """A process that is killed at some moment."""


def test_a_new_store_is_put_in_its_place_whole(monkeypatch):
    client = mlflow.MlflowClient
    monkeypatch.setattr(client, "search_experiments", lambda *a, **k: (_ for _ in ()).throw(Ended()))
    with pytest.raises(Ended), prepared(uri()):
        pytest.fail("it was not made")
    assert not STORE.exists()
    STORE.with_name(".mlflow.db.99999.new").write_text("what a killed process left")
    monkeypatch.undo()
    with prepared(uri()):
        assert STORE.exists()
    assert {path.name for path in STORE.parent.glob("*mlflow*")} == {"mlflow.db", ".mlflow.db.lock"}
    with sqlite3.connect(STORE) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_a_deleted_experiment_is_told_with_the_way_to_restore_it():
    client = mlflow.MlflowClient(tracking_uri=uri())
    STORE.parent.mkdir(exist_ok=True)
    client.delete_experiment(client.create_experiment("tfgrpo"))
    with pytest.raises(SettingsError, match=r"'tfgrpo' was deleted.*mlflow experiments restore -x 1"):
        compiled(tracking=True)


def test_a_store_that_was_left_half_made_is_told_with_the_way_to_mend_it():
    STORE.parent.mkdir()
    with sqlite3.connect(STORE) as connection:
        connection.execute("CREATE TABLE _alembic_tmp_latest_metrics (key TEXT)")
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    with pytest.raises(
        SettingsError, match=r"mlflow\.db is half made and holds no run: .*take it away.*nothing was paid"
    ):
        compiled(tracking=True)


class Refusal(Exception):
    def __init__(self, code: str) -> None:
        super().__init__("no")
        self.error_code = code


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refusal("PERMISSION_DENIED"), "you may not write there"),
        (Refusal("UNAUTHENTICATED"), "MLFLOW_TRACKING_TOKEN"),
        (Refusal("RESOURCE_DOES_NOT_EXIST"), "check `run_id`"),
        (Refusal("TEMPORARILY_UNAVAILABLE"), None),
        (ConnectionError("refused"), None),
    ],
)
def test_a_server_that_refuses_for_good_is_told_from_one_that_is_away(error, said):
    told = why_for_good(error, "http://127.0.0.1:5000")
    assert told is None if said is None else said in told


@pytest.mark.parametrize("how", ["MLFLOW_EXPERIMENT_NAME", "set_experiment", "named", "nothing"])
def test_the_experiment_is_the_one_that_mlflow_was_told_of(how, monkeypatch):
    STORE.parent.mkdir()
    mlflow.set_tracking_uri(uri())
    if how == "set_experiment":
        mlflow.set_experiment("mine")
    elif how == "MLFLOW_EXPERIMENT_NAME":
        monkeypatch.setenv(how, "mine")
    tracking = MLflowTracking("named" if how == "named" else None)
    tracking.check()
    for event in MadeRun(steps=1, validated=False).events():
        tracking(event)
    name = mlflow.MlflowClient(tracking_uri=uri()).get_experiment(tracking.experiment_id).name
    assert name == {"named": "named", "nothing": "tfgrpo"}.get(how, "mine")
