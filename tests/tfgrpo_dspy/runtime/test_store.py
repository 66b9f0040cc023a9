"""The store: a killed run is taken up where it was, texts stay out of memory, and a disk that fails costs a record."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.lm.budget import Spent
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Lost, Made, Scored, Unscored
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.runtime.database import NAME, connect
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.runtime.stored import reading, spent_in
from tfgrpo_dspy.simulated import demo_examples, running_server, simulated_lm

IDENTITY = {"epochs": 3, "trainset": "2 examples"}
SCORED = Scored("s1/e0/r0", 1.0, "well \ud800 done", "Step 1", "answer: 4", 0, Usage(1, 0, 9, 3, None), 0.5)
BROKEN = Lost("s1/e0/r1", "metric", "MetricError: no number", Usage(1), 2.0)
LATE = Lost("s1/e0/r1", "infrastructure", "LMTimeoutError: late", Usage(1), 2.0)
WAITING = Unscored("s1/e0/r2", {"answer": "4"}, "Step 1", "answer: 4", 0, Usage(1), 0.5)

texts = st.text(st.characters(exclude_categories=()), max_size=40)


def filled(folder: Path, count: int = 5) -> list[str]:
    names = [f"training seed 0: s1/e{i}/r0 0a" for i in range(count)]
    with Store(folder, IDENTITY) as store:
        for name in names:
            store.add(Spent(1))
            store.keep(name, Made, SCORED)
    return names


def found(folder: Path, names: list[str]) -> list[Made | None]:
    with Store(folder, IDENTITY) as store:
        return [store.find(name, Made) for name in names]


# Results.


@pytest.mark.parametrize("made", [SCORED, BROKEN, WAITING])
def test_what_was_kept_is_found_again(tmp_path, made):
    with Store(tmp_path / "log", IDENTITY) as store:
        assert store.find("a", Made) is None
        assert store.keep("a", Made, made) == made
        assert store.find("a", Made) == made
    with Store(tmp_path / "log", IDENTITY) as store:
        assert store.find("a", Made) == made


def test_what_infrastructure_lost_is_no_result(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        assert store.keep("a", Made, LATE) is LATE
    assert found(tmp_path, ["a"]) == [None]


def test_what_infrastructure_lost_stays_lost_in_a_step_that_is_over(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        store.keep("a", Made, LATE)
        store.settle()
        store.keep("b", Made, LATE)
    assert found(tmp_path, ["a", "b"]) == [LATE, None]


def test_the_token_names_the_run_for_ever(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        token = store.token
    with Store(tmp_path, IDENTITY) as store:
        assert store.token == token


def test_a_result_and_what_was_spent_until_then_are_one_transaction(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        store.add(Spent(1, 100))
        store.add(Spent(0, -40), is_due=False)
        assert spent_in(tmp_path).tokens == 100
        store.keep("a", Made, SCORED)
        assert spent_in(tmp_path).tokens == 60


def test_a_straggler_of_a_run_that_was_stopped_writes_nothing(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        pass
    assert store.keep("a", Made, SCORED) == SCORED
    store.add(Spent(1))
    assert found(tmp_path, ["a"]) == [None]
    assert spent_in(tmp_path) == Spent()


def test_where_there_is_no_store_nothing_was_spent(tmp_path):
    assert spent_in(tmp_path / "nowhere") == Spent()


def test_a_run_taken_up_does_not_hold_its_texts_in_memory(tmp_path):
    long = replace(SCORED, trajectory="x" * 100_000)
    with Store(tmp_path, IDENTITY) as store:
        for i in range(100):
            store.keep(f"task {i}", Made, long)
    tracemalloc.start()
    with Store(tmp_path, IDENTITY) as store:
        kept = [store.find(f"task {i}", Made) for i in range(100)]
        assert all(rollout.trajectory == long.trajectory for rollout in kept)
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6, "of the 10 MB, a few values at a time are in memory"


# Texts.


@given(texts, texts, texts)
def test_a_kept_rollout_equals_the_one_that_was_made_surrogates_and_all(trajectory, feedback, answer):
    rollout = replace(SCORED, trajectory=trajectory, feedback=feedback, answer=answer)
    kept = Store().keep("a", Made, rollout)
    assert isinstance(kept, Scored)
    assert kept == rollout
    assert rollout == kept
    assert hash(kept) == hash(rollout)
    assert (kept.trajectory, kept.feedback, kept.answer) == (trajectory, feedback, answer)


def test_it_differs_from_a_rollout_that_said_something_else():
    store = Store()
    assert store.keep("a", Made, SCORED) != store.keep("b", Made, replace(SCORED, answer="answer: 5"))
    assert store.keep("c", Made, SCORED) != "a"


def test_it_can_be_pickled_copied_and_replaced_without_its_store():
    kept = Store().keep("a", Made, SCORED)
    for made in (pickle.loads(pickle.dumps(kept)), copy.deepcopy(kept), replace(kept, reward=1.0)):
        assert type(made) is Scored
        assert made == SCORED


def test_many_threads_write_and_read_one_store(tmp_path):
    rollouts = [replace(SCORED, name=f"s1/e{i}/r0", trajectory=f"{i}" * 5000) for i in range(400)]
    with Store(tmp_path, IDENTITY) as store, ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda r: store.keep(r.name, Made, r), rollouts))
        assert list(pool.map(lambda r: r.trajectory, kept)) == [r.trajectory for r in rollouts]
    assert kept == rollouts


def test_texts_can_be_read_after_the_run_also_when_its_folder_was_moved_or_taken_up_by_another(tmp_path):
    with Store(tmp_path / "log", IDENTITY) as store:
        kept = store.keep("a", Made, SCORED)
    (tmp_path / "log").rename(tmp_path / "moved")
    assert kept.trajectory == "Step 1"
    with Store(tmp_path / "log", {"epochs": 9}) as other:
        other.keep("a", Made, replace(SCORED, trajectory="of the second"))
    assert kept.trajectory == "Step 1"


def step_of(store: Store, trajectory: str = "Step 1") -> StepRecord:
    """A step with scored and lost rollouts, advantages and a validation, the texts of its groups in the store."""
    [record] = MadeRun(steps=1).records
    groups = tuple(
        replace(g, rollouts=tuple(kept_in(store, r, trajectory) if r in g.scored else r for r in g.rollouts))
        for g in record.groups
    )
    return replace(record, groups=groups)


def kept_in(store: Store, rollout: Scored, trajectory: str) -> Scored:
    return store.keep(f"training seed 0: {rollout.name} 0a", Made, replace(rollout, trajectory=trajectory))


def test_a_kept_step_equals_the_one_that_was_made():
    store = Store()
    record = step_of(store)
    assert record.advantages
    assert record.validation is not None
    kept = store.keep_step(record)
    assert kept is not record
    assert kept == record
    assert record == kept
    assert kept != replace(record, groups=record.groups[1:])
    assert kept.usage == record.usage


def test_its_examples_are_those_of_the_trainset():
    store = Store()
    record = step_of(store)
    kept = store.keep_step(record)
    assert all(a.example is b.example for a, b in zip(kept.groups, record.groups, strict=True))


def test_texts_that_are_there_already_are_not_written_again(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        record = step_of(store, trajectory="x" * 100_000)
        kept = store.keep_step(record)
        with reading(tmp_path) as stored:
            parts = sum(len(str(line)) for line in stored.export() if line["kind"] in {"step", "part"})
        assert parts < 100_000
        assert kept.groups[0].scored[0].trajectory == "x" * 100_000


def test_a_step_made_again_takes_no_more_room(tmp_path):
    sizes = []
    for _ in range(3):
        with Store(tmp_path, IDENTITY) as store:
            record = step_of(store)
            store.keep_step(record)
        with reading(tmp_path) as stored:
            sizes.append(sum(line["kind"] in {"step", "part"} for line in stored.export()))
    assert len(set(sizes)) == 1


def test_a_step_can_be_pickled_copied_and_replaced_without_its_store():
    store = Store()
    record = step_of(store)
    kept = store.keep_step(record)
    for made in (pickle.loads(pickle.dumps(kept)), copy.deepcopy(kept), replace(kept, step=record.step)):
        assert type(made) is StepRecord
        assert made == record


def in_memory() -> list[Scored]:
    gc.collect()
    return [value for value in gc.get_objects() if isinstance(value, Scored)]


@pytest.mark.parametrize("keeps", [False, True])
def test_the_rollouts_of_finished_steps_are_not_kept_in_memory(keeps):
    others = in_memory()
    with dspy.context(lm=simulated_lm(seed=0, cache=False)):
        optimizer = TrainingFreeGRPO(
            number, epochs=1, batch_size=4, group_size=3, num_threads=4, log_dir="log" if keeps else None
        )
        program = optimizer.compile(dspy.ChainOfThought("question -> answer"), demo_examples(12, 0, "train"))
    assert [rollout.name for rollout in in_memory() if not any(rollout is other for other in others)] == []
    groups = [group for step in program.detailed_results.steps for group in step.groups]
    assert [len(group.scored) for group in groups] == [3] * 12
    assert all("answer" in rollout.trajectory for group in groups for rollout in group.scored)


def test_the_file_goes_with_the_last_rollout_that_refers_to_it():
    store = Store()
    kept = store.keep("a", Made, SCORED)
    connection, alive = store._connection, weakref.ref(store)
    del store
    gc.collect()
    assert alive() is not None
    assert kept.trajectory == "Step 1"
    del kept
    gc.collect()
    assert alive() is None
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_a_run_that_is_not_kept_leaves_no_file_whatever_ends_it(tmp_path):
    code = (
        "import os, signal\n"
        "from tfgrpo_dspy.runtime.store import Store\n"
        "from tests.tfgrpo_dspy.runtime.test_store import SCORED, Made, replace\n"
        "store = Store()\n"
        "for i in range(300): store.keep(str(i), Made, replace(SCORED, trajectory='x' * 20_000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "SQLITE_TMPDIR": str(tmp_path), "PYTHONPATH": root()}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert list(tmp_path.iterdir()) == []


# Disks.


class FullDisk:
    """A connection whose disk is full while it is told so."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.is_full = False

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if self.is_full and statement.startswith(("INSERT", "COMMIT")):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


@pytest.fixture
def full(tmp_path):
    with Store(tmp_path / "log", IDENTITY) as store:
        store._connection = FullDisk(store._connection)
        store._connection.is_full = True
        yield store


def test_what_a_full_disk_refuses_is_in_memory_until_it_takes_it(full):
    names, record = [str(i) for i in range(5)], step_of(full)
    assert [full.keep(name, Made, SCORED) for name in names] == [SCORED] * 5
    assert full.keep_step(record) is record
    with pytest.raises(StoreError, match="the disk is full"):
        full.flush()
    assert full.is_behind
    full._connection.is_full = False
    full.flush()
    assert not full.is_behind
    assert all(full.find(name, Made) == SCORED for name in names)
    with reading(full.folder) as stored:
        assert list(stored.steps) == [record.step]


def test_a_disk_that_is_full_to_the_end_is_said_with_what_was_not_kept(full, caplog):
    full.keep("a", Made, SCORED)
    full.__exit__()
    assert "1 result could not be written" in caplog.text


def test_what_a_call_will_cost_is_not_taken_for_written_when_it_is_not(full):
    with pytest.raises(StoreError, match=r"run\.db cannot be written: the disk is full; make room on it"):
        full.add(Spent(1))
    full._connection.is_full = False
    full.add(Spent(1))
    assert spent_in(full.folder) == Spent(1)


def test_a_short_write_loses_nothing_that_was_written_before_or_after(tmp_path):
    """`failing/r03`: a file size limit that is reached within a record, and lifted again."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    names = [f"paid {n}" for n in range(100)]
    with Store(tmp_path, IDENTITY) as store:
        for n, name in enumerate(names):
            if n in {10, 30, 50}:
                now = max(path.stat().st_size for path in tmp_path.glob("run.db*"))
                resource.setrlimit(resource.RLIMIT_FSIZE, (now + 5000, hard))
            elif n in {20, 40, 60}:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            store.keep(name, Made, replace(SCORED, trajectory="x" * 4000))
    assert all(found(tmp_path, names))


def test_a_run_can_be_read_while_it_goes_on(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        store.keep("a", Made, SCORED)
        with reading(tmp_path) as stored:
            store.keep("b", Made, SCORED)
            assert stored.names() == ["a", "b"]
            assert stored.result("b", Made).trajectory == "Step 1"


# Damage.


def damage(folder: Path, where: str, **values: object) -> None:
    with closing(sqlite3.connect(folder / NAME)) as connection, connection:
        for column, value in values.items():
            assert connection.execute(f"UPDATE records SET {column} = ? WHERE {where}", (value,)).rowcount == 1


@pytest.mark.parametrize(
    ("where", "values"),
    [
        ("name LIKE '%e2/r0%'", {"value": '{"name":"s1/e2/r0","reward":0.0}'}),
        ("name LIKE '%e2/r0%'", {"value": b"\xff\x00torn"}),
        ("name LIKE '%e2/r0%'", {"checksum": "0" * 16}),
        ("kind = 'texts' AND id = (SELECT min(id) FROM records WHERE kind = 'texts')", {"value": '{"answer":"5"}'}),
    ],
)
def test_a_damaged_record_costs_itself_only_and_is_named(tmp_path, caplog, where, values):
    names = filled(tmp_path)
    damage(tmp_path, where, **values)
    kept = found(tmp_path, names)
    assert kept.count(None) == 1
    assert kept.count(SCORED) == 4
    assert "damaged and left out: what they held is made again" in caplog.text
    assert names[kept.index(None)] in caplog.text or "texts" in caplog.text
    assert any("damaged" in note.text for note in notes_of(tmp_path))


def notes_of(folder: Path) -> list:
    with reading(folder) as stored:
        return stored.notes


def test_a_damaged_change_of_the_account_counts_as_the_dearest_of_the_others(tmp_path):
    filled(tmp_path)
    damage(
        tmp_path, "kind = 'spent' AND id = (SELECT min(id) FROM records WHERE kind = 'spent')", value='{"lm_calls":-9}'
    )
    assert spent_in(tmp_path).lm_calls == 5
    with Store(tmp_path, IDENTITY) as store:
        assert store.before.lm_calls == 5


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_file_damaged_anywhere_falls_back_to_what_can_be_read(tmp_path_factory, seed):
    folder, draw = tmp_path_factory.mktemp("log"), random.Random(seed)
    names = filled(folder, 40)
    with closing(connect(folder / NAME)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((folder / NAME).read_bytes())
    size, pages = len(data), set()
    for _ in range(draw.choice([1, 3])):
        start, length = draw.randrange(size), draw.choice([1, 40, 400, 4096])
        pages |= {start // 4096, (start + length) // 4096}
        data[start : start + length] = draw.choice([b"\0", b"\xff", b"x"]) * length
    (folder / NAME).write_bytes(data[:size])
    with Store(folder, IDENTITY, accept_changes=True) as store:
        kept = [store.find(name, Made) for name in names]
    assert all(made in (None, SCORED) for made in kept)
    assert kept.count(None) <= 14 * len(pages), "a record is about a fourteenth of a page"


def test_a_file_with_a_block_of_zeros_keeps_the_other_records(tmp_path, caplog):
    names = filled(tmp_path, 200)
    data = bytearray((tmp_path / NAME).read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = bytes(4096)
    (tmp_path / NAME).write_bytes(data)
    kept = found(tmp_path, names)
    assert kept.count(SCORED) >= 150
    assert "damaged" in caplog.text


@pytest.mark.parametrize("text", [b"", b"SQLite format 3\0", b"no database at all" * 400])
def test_a_file_that_is_no_store_is_put_aside_or_one_clear_error(tmp_path, text):
    (tmp_path / NAME).write_bytes(text)
    with suppress(StoreError), Store(tmp_path, IDENTITY) as store:
        assert store.find("a", Made) is None
    with Store(tmp_path, IDENTITY, restart=True) as store:
        assert store.before == Spent()


def test_the_database_of_another_program_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / NAME)) as other, other:
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="is not the store of a run"), Store(tmp_path, IDENTITY):
        pass


def test_a_run_of_an_earlier_format_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"name": "a", "value": 1}\n')
    with pytest.raises(StoreError, match=r"holds a run in an earlier format \(journal\.jsonl\).*`restart=True`"):
        Store(tmp_path, IDENTITY).__enter__()
    with Store(tmp_path, IDENTITY, restart=True) as store:
        assert store.before == Spent()


def test_a_store_that_cannot_say_what_run_it_is_goes_on_if_told_so(tmp_path):
    names = filled(tmp_path)
    damage(tmp_path, "kind = 'about' AND name = 'identity'", value="{}")
    with pytest.raises(StoreError, match=r"what run it is can no longer be read.*`accept_changes=True`"):
        Store(tmp_path, IDENTITY).__enter__()
    with Store(tmp_path, IDENTITY, accept_changes=True) as store:
        assert store.find(names[0], Made) == SCORED


# Identity.


def test_a_change_is_refused_with_the_differences(tmp_path):
    filled(tmp_path)
    changed = {**IDENTITY, "epochs": 4}
    with pytest.raises(StoreError, match="epochs was 3, is 4") as caught:
        Store(tmp_path, changed).__enter__()
    for way_out in ("accept_changes=True", "restart=True", "another folder"):
        assert way_out in str(caught.value)


def test_a_run_that_holds_nothing_yet_gives_way_to_the_one_whose_key_or_name_was_mended(tmp_path, caplog):
    with Store(tmp_path, IDENTITY):
        pass
    with Store(tmp_path, {**IDENTITY, "epochs": 4}):
        pass
    assert not caplog.records


def test_an_accepted_change_is_noted_and_not_asked_about_again(tmp_path):
    names = filled(tmp_path)
    changed = {**IDENTITY, "epochs": 4}
    with Store(tmp_path, changed, accept_changes=True) as store:
        assert store.find(names[0], Made) == SCORED
    with Store(tmp_path, changed):
        pass
    assert [note.text for note in notes_of(tmp_path)] == ["it was taken up with changes: epochs was 3, is 4"]


def test_a_restart_puts_the_old_run_aside(tmp_path):
    folder = tmp_path / "log"
    [name] = filled(folder, 1)
    with Store(folder, {"epochs": 9}, restart=True) as store:
        assert store.find(name, Made) is None
    assert found(tmp_path / "log.1", [name]) == [SCORED]


# A second process.

OTHER = """
import sys
from tfgrpo_dspy.runtime.store import Store
try:
    with Store(sys.argv[1], {"epochs": 3, "trainset": "2 examples"}, restart="restart" in sys.argv) as store:
        store.set_fact("x", "of the second")
        print("it was not refused")
except Exception as error:
    print(type(error).__name__, error)
"""


def root() -> str:
    return str(Path(__file__).parents[3])


def other_process(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": root()}
    command = [sys.executable, "-c", OTHER, str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.parametrize("arguments", [[], ["restart"]])
def test_a_second_process_is_refused_before_anything_is_moved(tmp_path, arguments):
    """`failing/r04`: `--restart` beside a run that is under way."""
    folder = tmp_path / "log"
    with Store(folder, IDENTITY) as store:
        store.keep("a", Made, SCORED)
        assert other_process(folder, *arguments).startswith("StoreError")
        assert "in use by another process" in other_process(folder, *arguments)
        assert not (tmp_path / "log.1").exists()
        store.keep("b", Made, SCORED)
    assert found(folder, ["a", "b"]) == [SCORED, SCORED]
    assert "it was not refused" in other_process(folder, *arguments)


# Whole runs.


def test_a_run_taken_up_makes_no_call_and_learns_the_same(tmp_path):
    examples = demo_examples(10, 0, "train")

    def learn():
        lm = simulated_lm(seed=0, cache=False)
        with dspy.context(lm=lm):
            optimizer = TrainingFreeGRPO(number, epochs=2, log_dir=tmp_path, num_threads=4)
            return optimizer.compile(dspy.ChainOfThought("question -> answer"), examples)

    first = learn()
    with reading(tmp_path) as stored:
        names = stored.names()
    second = learn()
    assert dump_library(first.experience_library) == dump_library(second.experience_library)
    with reading(tmp_path) as stored:
        assert stored.names() == names
        assert len(stored.steps) == 2
    assert second.detailed_results.usage == first.detailed_results.usage
    assert second.detailed_results.traffic.calls == 0


def test_no_credential_reaches_the_store(tmp_path):
    with running_server(api_key="sk-very-secret") as base:
        lm = dspy.LM("openai/simulated", api_base=base, api_key="sk-very-secret")
        with dspy.context(lm=lm):
            optimizer = TrainingFreeGRPO(number, epochs=1, group_size=2, log_dir=tmp_path)
            optimizer.compile(dspy.Predict("question -> answer"), demo_examples(2, 0, "train"))
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"s1/e0/r0" in written
    assert b"very-secret" not in written


CHILD = """
import sys, time, dspy
from pathlib import Path
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

class Slow:
    def __init__(self, engine): self.engine = engine
    def complete(self, request):
        time.sleep(0.004)
        with open("calls", "a") as calls: calls.write("x")
        return self.engine.complete(request)
    def stream(self, request): return self.engine.stream(request)
    def close(self): pass

lm = simulated_lm(seed=0, cache=False)
lm = lm.copy(engine=Slow(lm.engine))
dspy.configure(lm=lm)
optimizer = TrainingFreeGRPO(number, epochs=3, log_dir="log", num_threads=4, tracking=True, display_progress=False)
program = optimizer.compile(make_solver(), demo_examples(12, 0, "train"))
Path("library.json").write_text(dump_library(program.experience_library))
"""


def run_child(folder: Path, kill_after_calls: int | None) -> int:
    """Run the child in a folder, and kill it when it has made that many further calls."""
    calls = folder / "calls"
    before = calls.stat().st_size if calls.exists() else 0
    environment = {**os.environ, "PYTHONPATH": root()}
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    while kill_after_calls is not None and child.poll() is None:
        if calls.exists() and calls.stat().st_size >= before + kill_after_calls:
            child.send_signal(signal.SIGKILL)
            break
    return child.wait()


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_same_library_with_one_mlflow_run(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir()
    torn.mkdir()
    assert run_child(whole, None) == 0
    needed = (whole / "calls").stat().st_size
    draw = random.Random(0)
    kills = 0
    for _ in range(25):
        if run_child(torn, draw.randint(1, needed // 12)) == 0:
            break
        kills += 1
    else:
        assert run_child(torn, None) == 0
    assert kills >= 10
    assert (torn / "library.json").read_bytes() == (whole / "library.json").read_bytes()
    paid_twice = (torn / "calls").stat().st_size - needed
    assert paid_twice <= kills * 4, "more than the calls in flight were paid again"
    check_tracking(torn)


def check_tracking(folder: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
    [experiment] = [e for e in client.search_experiments() if e.name == "tfgrpo"]
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "reward/mean")
    assert [point.step for point in history] == [1, 2, 3]
