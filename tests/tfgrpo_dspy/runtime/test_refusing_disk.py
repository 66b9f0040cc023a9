"""While what was paid for cannot be kept, nothing new is paid for: whatever keeps it from being written."""

from __future__ import annotations

import resource
import sqlite3

import dspy
import pytest

from tests.tfgrpo_dspy.lm.raw import watchdog
from tests.tfgrpo_dspy.runtime.test_store import FullDisk
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.lm.outage import Outages
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.runtime.stored import reading, spent_in
from tfgrpo_dspy.simulated import demo_examples, running_server
from tfgrpo_dspy.simulated.student import make_solver

THREADS = 4


class Full:
    """No space is left on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        store._connection = FullDisk(store._connection)
        store._connection.is_full = True

    def lift(self) -> None:
        self.store._connection.is_full = False


class ReadOnly:
    """It may be read only."""

    def __init__(self, store: Store) -> None:
        self.store = store
        store._connection.execute("PRAGMA query_only = ON")

    def lift(self) -> None:
        self.store._connection.execute("PRAGMA query_only = OFF")


class Locked:
    """Another program has the file locked."""

    def __init__(self, store: Store) -> None:
        self.other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False, timeout=60)
        self.other.execute("BEGIN IMMEDIATE")

    def lift(self) -> None:
        self.other.close()


class OverQuota:
    """No file may grow."""

    def __init__(self, store: Store) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        largest = max(path.stat().st_size for path in store.folder.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, self.before[1]))

    def lift(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


KINDS = {
    Full: "the disk is full; make room on it",
    ReadOnly: "may not be written to; check its permissions",
    Locked: "is locked by another program; close whatever else has it open",
    OverQuota: "over a quota",
}


class Disk:
    """Refuses from an answer of the endpoint on, until so many tries to write were in vain."""

    def __init__(self, kind, monkeypatch, tries: int) -> None:
        self.kind, self.tries, self.calls, self.refused_at, self.lifted_at = kind, tries, 0, 0, 0
        self.refusal = None
        monkeypatch.setattr(Store, "_use", self._seen(Store._use))
        monkeypatch.setattr(Outages, "refused", self._tried(Outages.refused))

    def _seen(self, use):
        def used(store, connection):
            use(store, connection)
            if store.is_kept:
                self.store = store

        return used

    def _tried(self, refused):
        def tried(outages, who, error):
            refused(outages, who, error)
            self.tries -= 1
            if not self.tries:
                self.lift()

        return tried

    def answered(self, exchange) -> None:
        self.calls += 1
        if self.calls == 10 and self.refusal is None:
            with self.store._lock:
                self.refused_at, self.refusal = self.calls, self.kind(self.store)

    def lift(self) -> None:
        self.lifted_at = self.calls
        with self.store._lock:
            self.refusal.lift()


def compiled(log_dir, answered, **settings):
    with running_server(seed=0, on_exchange=answered) as url:
        model = dspy.LM("openai/simulated", api_base=url, api_key="x", cache=False, seed=1)
        with dspy.context(lm=model):
            optimizer = TrainingFreeGRPO(
                number, epochs=1, group_size=3, num_threads=THREADS, log_dir=log_dir, display_progress=False, **settings
            )
            return optimizer.compile(make_solver(), demo_examples(6, 0)).detailed_results


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    calls: list = []
    return compiled(tmp_path_factory.mktemp("whole"), calls.append), len(calls)


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_takes_nothing_for_a_while_costs_time_only(kind, tmp_path, monkeypatch, whole, caplog):
    monkeypatch.setattr("tfgrpo_dspy.lm.outage._SAID_AFTER", 0.0)
    disk = Disk(kind, monkeypatch, tries=THREADS + 2)
    with watchdog():
        result = compiled(tmp_path, disk.answered)
    assert disk.lifted_at - disk.refused_at <= THREADS
    assert (result.library, disk.calls) == (whole[0].library, whole[1])
    assert (result.stopped_by, spent_in(tmp_path).lm_calls) == (None, disk.calls)
    said = [record.message for record in caplog.records if "run.db" in record.message or "the disk" in record.message]
    assert ["nothing new starts until then" in line for line in said] == [True, False], said
    assert KINDS[kind] in said[0]
    assert said[1].startswith("the disk takes what is kept again after")
    with reading(tmp_path) as stored:
        assert list(stored.steps) == [1]


@pytest.mark.parametrize(("kind", "max_outage"), list(zip(KINDS, [0.5, None, 0.5, None], strict=True)))
def test_a_disk_that_takes_nothing_any_more_ends_the_run_in_good_order(kind, max_outage, tmp_path, monkeypatch, whole):
    disk = Disk(kind, monkeypatch, tries=10**6)
    with watchdog():
        ended = compiled(tmp_path, disk.answered, max_outage=max_outage).ended
    assert disk.calls - disk.refused_at <= THREADS
    assert (ended.how, ended.is_in_order) == ("disk", True)
    assert KINDS[kind] in ended.why
    disk.lift()
    with watchdog():
        result = compiled(tmp_path, disk.answered)
    assert result.library == whole[0].library
    assert whole[1] <= disk.calls <= whole[1] + 2 * THREADS
