"""Runs in Weights & Biases, in its offline mode: what its own files hold afterwards."""

from __future__ import annotations

import json
import struct

import dspy
import pytest

from tests.tfgrpo_dspy.command_line import KEY, SOLVER, problems, run
from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import ExperienceLibrary, MissingExtraError, SettingsError, WandbTracking
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.observers import wandb_tracking
from tfgrpo_dspy.observers.about import params_of
from tfgrpo_dspy.observers.metrics import final_metrics, initial_metrics, step_metrics

pytest.importorskip("wandb", reason="W&B is not installed: pip install 'tfgrpo-dspy[wandb]'")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where W&B writes; it looks at its environment when it is set up."""
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "SILENT": "true", "DIR": tmp_path, "DATA_DIR": tmp_path / "data"}.items():
        monkeypatch.setenv(f"WANDB_{name}", str(value))
    wandb.teardown()
    yield tmp_path
    wandb.teardown()


BLOCK, HEADER = 32768, 7
"""W&B's file is a log of LevelDB's kind: blocks, in which a piece of a record follows its checksum, length and kind."""


def records_in(log):
    at, record = HEADER, b""
    while at + HEADER <= len(log):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", log[at : at + HEADER])
        at += HEADER + length
        record += log[at - length : at]
        if kind in {1, 4}:  # whole, or its last piece
            yield record
            record = b""


class Recorded:
    """What W&B's file of a run holds."""

    def __init__(self, folder, run_id):
        import wandb
        from wandb.proto.wandb_internal_pb2 import Record

        wandb.teardown()  # its service writes the end of the file when it ends

        (self.path,) = folder.glob(f"wandb/offline-run-*/run-{run_id}.wandb")
        self.rows, self.config, self.summary, self.aliases, self.exit = {}, {}, {}, [], None
        for data in records_in(self.path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            self.take(record)

    def take(self, record):
        match record.WhichOneof("record_type"):
            case "run":
                self.name = record.run.display_name
                self.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            case "history":
                row = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                self.rows.setdefault(row["step"], {}).update(row)
            case "summary":
                items = record.summary.update
                self.summary |= {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
            case "artifact":
                self.aliases.append((record.artifact.type, {*record.artifact.aliases}))
            case "exit":
                self.exit = record.exit.exit_code


def shown(numbers):
    return pytest.approx({name: float(value) for name, value in numbers.items()})


def test_a_run_has_the_numbers_that_mlflow_has_under_the_same_names(folder):
    made, tracking = MadeRun(), WandbTracking("algebra")
    dspy_lm = dspy.LM("openai/x", api_key=KEY)
    with dspy.context(lm=dspy_lm):
        for event in made.events():
            tracking(event)
    assert tracking.unrecorded == ()
    found = Recorded(folder, tracking.run_id)
    for record in made.records:
        numbers = step_metrics(record, made.settings)
        assert {name: found.rows[record.step][name] for name in numbers} == shown(numbers)
    first = initial_metrics(made.initial)
    assert {name: found.rows[0][name] for name in first} == shown(first)
    totals = final_metrics(made.result)
    assert {name: found.summary[name] for name in totals} == shown(totals)
    assert params_of(made.start).items() <= found.config.items()
    assert found.aliases[-2:] == [("experience-library", {"latest", "best"}), ("report", {"latest"})]
    assert found.exit == 0
    assert "seed 0, G=5" in found.name


def test_what_wandb_does_not_take_is_tried_again_in_order_and_never_stops_a_run(folder, monkeypatch, caplog):
    made, tracking, wandb = MadeRun(validated=False), WandbTracking(), wandb_tracking._wandb()
    events = list(made.events())
    with monkeypatch.context() as broken:
        broken.setattr(wandb, "init", lambda **_: (_ for _ in ()).throw(OSError(f"no disk for {KEY}")))
        tracking(events[0])
        assert "no disk" in tracking.unrecorded[0]
    for event in events[1:]:
        tracking(event)
    assert tracking.unrecorded == ()
    assert sorted(Recorded(folder, tracking.run_id).rows) == [record.step for record in made.records]
    assert len([message for message in caplog.messages if "does not record now" in message]) == 1


def test_a_run_of_the_command_line_is_recorded_where_a_project_is_named(folder):
    problems(train=4)
    done = run(
        *("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated", "--no-tracking"),
        *("--epochs", "1", "--group-size", "2", "--wandb", "algebra"),
    )
    assert done.exit_code == 0, done.output
    newest = max(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    assert sorted(Recorded(folder, newest.stem.removeprefix("run-")).rows) == [1]


def test_no_credential_is_in_any_file_of_it(folder):
    made, tracking = MadeRun(steps=1), WandbTracking(name=f"with {KEY}")
    with dspy.context(lm=dspy.LM("openai/x", api_key=KEY)):
        for event in made.events():
            tracking(event)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(dump_library(ExperienceLibrary())[:20] in path.read_text(errors="replace") for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_without_an_account_it_is_said_before_anything_is_paid(monkeypatch, tmp_path):
    WandbTracking().check()
    __import__("wandb").teardown()
    for name, value in {"WANDB_MODE": "online", "NETRC": str(tmp_path / "none"), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="knows no key to record under; nothing was paid"):
        WandbTracking().check()


def test_a_project_has_a_name_and_without_the_package_the_extra_is_named(monkeypatch):
    with pytest.raises(SettingsError, match="name of a W&B project"):
        WandbTracking(" ")
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tfgrpo-dspy\[wandb\]'"):
        WandbTracking()
