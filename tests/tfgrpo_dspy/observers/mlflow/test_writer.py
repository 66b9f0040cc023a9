"""A run never waits for its tracking server, and nothing that it says is lost."""

from __future__ import annotations

import copy
import logging
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
import pytest

from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy.observers.mlflow import tracking as tracking_module
from tfgrpo_dspy.observers.mlflow import waiting
from tfgrpo_dspy.observers.mlflow.store import RunStore
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.observers.mlflow.waiting import wait_for
from tfgrpo_dspy.observers.mlflow.writer import Entry, Writer

pytestmark = pytest.mark.usefixtures("ready_store")


class Server(RunStore):
    """A store that answers when it is told to, and notes who wrote what."""

    def __init__(self) -> None:
        self.committed, self.run_id, self.place, self.about = 0, "r1", None, ""
        self.answers, self.was_asked = threading.Event(), threading.Event()
        self.wrote: list[tuple[str, str]] = []
        self.is_away = False

    def write(self, name: str) -> None:
        self.was_asked.set()
        assert self.answers.wait(PATIENCE)
        if self.is_away:
            raise ConnectionError("refused")
        self.wrote.append((name, threading.current_thread().name))

    def ping(self) -> None:
        if self.is_away:
            raise ConnectionError("refused")

    def entries(self, *names: str) -> list[Entry]:
        return [Entry(name, lambda store, name=name: store.write(name)) for name in names]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.answers.set()


@pytest.fixture
def writer() -> Writer:
    return Writer()


def names(server: Server) -> list[str]:
    return [name for name, _ in server.wrote]


def test_what_is_put_is_written_in_order_by_one_thread_that_then_goes(server, writer):
    server.answers.set()
    for number in range(20):
        writer.put(server, server.entries(f"{number}a", f"{number}b"))
    assert wait_for(writer)
    assert names(server) == [f"{number}{part}" for number in range(20) for part in "ab"]
    assert {thread for _, thread in server.wrote} == {"tfgrpo-mlflow"}
    assert writer.unrecorded == ()
    assert threading.main_thread().name not in {thread for _, thread in server.wrote}


def test_putting_returns_while_the_server_does_not_answer(server, writer):
    writer.put(server, server.entries("first"))
    assert server.was_asked.wait(PATIENCE)
    writer.put(server, server.entries(*"abc"))  # returns, or this test hangs
    assert server.wrote == []
    assert writer.unrecorded == ("4 more, first to c: not tried yet",)
    server.answers.set()
    assert wait_for(writer)
    assert names(server) == ["first", *"abc"]


def test_a_wait_that_is_over_in_time_or_interrupted_takes_nothing_from_what_is_due(server, writer, monkeypatch):
    writer.put(server, server.entries(*"ab"))
    assert not wait_for(writer, 0.0)
    monkeypatch.setattr(Writer, "progress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not wait_for(writer)
    monkeypatch.undo()
    server.answers.set()
    assert wait_for(writer)
    assert names(server) == ["a", "b"]


def test_a_long_wait_is_said_once(server, writer, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "_SILENT", 0.0)
    writer.put(server, server.entries(*"ab"))
    assert server.was_asked.wait(PATIENCE)
    with caplog.at_level(logging.WARNING, "tfgrpo_dspy"):
        assert not wait_for(writer, 0.35)
    (said,) = caplog.messages
    assert said == "MLflow is slow: waiting for 2 records to be written; Ctrl-C leaves them unwritten"


def test_a_failure_is_told_once_and_what_failed_is_tried_again_in_order(server, writer, caplog):
    server.answers.set()
    server.is_away = True
    with caplog.at_level(logging.WARNING, "tfgrpo_dspy"):
        for name in "abc":
            writer.put(server, server.entries(name))
            assert wait_for(writer)
    assert len(caplog.messages) == 1
    assert writer.unrecorded == ("a: ConnectionError: refused", "2 more, b to c: not tried yet")
    server.is_away = False
    assert wait_for(writer)
    assert (writer.unrecorded, names(server)) == ((), ["a", "b", "c"])


def test_a_thread_that_something_ended_is_replaced(server, writer, monkeypatch):
    def end(store: RunStore) -> None:
        raise SystemExit

    server.answers.set()
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    writer.put(server, [Entry("x", end)])
    assert wait_for(writer)
    assert writer.unrecorded == ("x: not tried yet",)
    writer._due.clear()
    writer.put(server, server.entries("y"))
    assert wait_for(writer)
    assert names(server) == ["y"]


def test_a_process_that_ends_waits_for_the_write_under_way_and_begins_no_other(server, writer, monkeypatch):
    writer.put(server, server.entries(*"ab"))
    assert server.was_asked.wait(PATIENCE)
    monkeypatch.setattr(threading.Thread, "join", lambda thread, timeout: server.answers.set())
    writer.leave()
    monkeypatch.undo()
    assert wait_for(writer)
    assert names(server) == ["a"]
    assert writer.unrecorded == ("b: not tried yet",)


# The run


@contextmanager
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every first contact of MLflow's waits for the event."""
    answers, reached = threading.Event(), RunStore.open

    def open_late(self: RunStore, tags: dict[str, str]) -> None:
        assert answers.wait(PATIENCE)
        reached(self, tags)

    monkeypatch.setattr(RunStore, "open", open_late)
    yield answers
    answers.set()


def test_no_event_of_a_run_waits_for_a_server_that_does_not_answer(monkeypatch):
    tracking = MLflowTracking("e", traces=0)
    with blocked(monkeypatch) as answers:
        *events, last = MadeRun(steps=1, validated=False).events()
        for event in events:
            tracking(event)  # each returns, or this test hangs
        assert tracking.run_id is None
        answers.set()
        tracking(last)
    assert tracking.unrecorded == ()


def test_the_client_is_made_in_the_thread_that_compiles_where_nothing_else_imports(monkeypatch):
    made_in, make = [], mlflow.MlflowClient

    def noting(*args, **kwargs):
        made_in.append(threading.current_thread())
        return make(*args, **kwargs)

    monkeypatch.setattr(mlflow, "MlflowClient", noting)
    run = MadeRun()
    tracking = MLflowTracking()
    for event in run.events():
        tracking(event)
    assert tracking.run_id
    assert set(made_in) == {threading.main_thread()}


def test_an_interrupt_while_records_are_waited_for_ends_the_waiting_and_says_how_to_write_them(monkeypatch, caplog):
    tracking = MLflowTracking("e", traces=0)
    with blocked(monkeypatch):
        monkeypatch.setattr(Writer, "progress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with caplog.at_level(logging.WARNING, "tfgrpo_dspy"):
            for event in MadeRun(steps=1, validated=False).events():
                tracking(event)
        assert tracking.unrecorded[0].endswith("the run itself to the end of the run (FINISHED): not tried yet")
        assert tracking.was_left
    assert "MLflow was left before it had recorded: " in caplog.text
    assert "`retry()`" in caplog.text
    monkeypatch.undo()
    assert tracking.retry()


def test_whoever_interrupted_a_run_does_not_wait_for_a_slow_server(monkeypatch):
    monkeypatch.setattr(tracking_module, "_PARTING", 0.0)
    tracking = MLflowTracking("e", traces=0)
    with blocked(monkeypatch):
        for event in MadeRun(steps=1, validated=False).events(error=KeyboardInterrupt()):
            tracking(event)  # returns, or this test hangs
        assert tracking.unrecorded
    assert tracking.retry()  # and its thread writes nothing into the next test


def test_how_an_interrupted_run_ended_is_written_before_what_is_still_due(monkeypatch):
    monkeypatch.setattr(tracking_module, "_PARTING", 0.0)
    wrote, answers = [], threading.Event()
    put_text, end = RunStore.put_text, RunStore.end

    def put_late(self: RunStore, path: str, text: str) -> None:
        assert answers.wait(PATIENCE)
        put_text(self, path, text)
        wrote.append(path)

    monkeypatch.setattr(RunStore, "end", lambda self, status, at: (end(self, status, at), wrote.append(status)))
    tracking, run = MLflowTracking("e", traces=0), MadeRun(steps=1, validated=False)
    first, *events = run.events(error=KeyboardInterrupt())
    tracking(first)
    assert tracking.retry()
    monkeypatch.setattr(RunStore, "put_text", put_late)
    for event in events:
        tracking(event)
    answers.set()
    assert tracking.retry()
    assert wrote.index("KILLED") < wrote.index("library/returned.json")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_knows_where_to_record_and_nothing_of_the_run_under_way(copied):
    tracking = MLflowTracking("e", tags={"team": "x"}, traces=0)
    tracking(MadeRun(steps=0).start)
    made = copied(tracking)
    assert tracking.retry()
    assert (made.run_id, made.unrecorded, repr(made)) == (None, (), repr(MLflowTracking("e")))
