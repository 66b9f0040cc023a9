"""The journal: a killed run is taken up where it was, and a journal that cannot be trusted is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.errors import JournalError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.rollouts import Lost, Rollout, Scored
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.runtime.journal import Journal, fingerprint
from tfgrpo_dspy.simulated import demo_examples, running_server, simulated_lm

IDENTITY = {"epochs": 3, "trainset": "2 examples"}
SCORED = Scored("s1/e0/r0", 1.0, "well \ud800 done", "Step 1", "answer: 4", 0, Usage(1, 0, 9, 3, None), 0.5)
LOST = Lost("s1/e0/r1", "infrastructure", "LMTimeoutError: late", Usage(1), 2.0)


def never():
    pytest.fail("it was done again")


def test_what_was_done_once_is_not_done_again(tmp_path):
    with Journal(tmp_path / "log", IDENTITY) as journal:
        assert journal.once("a", Rollout, lambda: SCORED) == SCORED
        assert journal.once("b", Rollout, lambda: LOST) == LOST
    with Journal(tmp_path / "log", IDENTITY) as journal:
        assert journal.once("a", Rollout, never) == SCORED
        assert journal.once("b", Rollout, never) == LOST


def test_what_is_not_to_be_kept_is_done_again(tmp_path):
    with Journal(tmp_path, IDENTITY) as journal:
        journal.once("a", Rollout, lambda: LOST, keep=lambda made: False)
    with Journal(tmp_path, IDENTITY) as journal:
        assert journal.once("a", Rollout, lambda: SCORED) == SCORED


def test_the_token_names_the_run_for_ever(tmp_path):
    with Journal(tmp_path, IDENTITY) as journal:
        token = journal.token
    with Journal(tmp_path, IDENTITY) as journal:
        assert journal.token == token


@given(cut=st.integers(0, 2000))
@settings(max_examples=40, deadline=None)
def test_a_journal_cut_anywhere_loses_only_what_was_cut(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("log")
    names = [f"task {i}" for i in range(5)]
    with Journal(folder, IDENTITY) as journal:
        for name in names:
            journal.once(name, Rollout, lambda: SCORED)
    path = folder / "journal.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: min(cut, len(data))])
    done_again = []
    with Journal(folder, IDENTITY) as journal:
        for name in names:
            journal.once(name, Rollout, lambda name=name: done_again.append(name) or SCORED)
    assert done_again == names[len(names) - len(done_again) :]
    assert path.read_bytes() == data


def test_a_damaged_line_in_the_middle_is_one_clear_error(tmp_path):
    with Journal(tmp_path, IDENTITY) as journal:
        for name in "abc":
            journal.once(name, Rollout, lambda: SCORED)
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + "{oops\n" + lines[2])
    with pytest.raises(JournalError, match=r"journal\.jsonl, line 2 is damaged"), Journal(tmp_path, IDENTITY):
        pass


def test_a_blank_line_in_the_middle_is_damage_and_nothing_after_it_is_cut_off(tmp_path):
    with Journal(tmp_path, IDENTITY) as journal:
        for name in "abc":
            journal.once(name, Rollout, lambda: SCORED)
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + "\n" + lines[2])
    with pytest.raises(JournalError, match=r"journal\.jsonl, line 2 is damaged"), Journal(tmp_path, IDENTITY):
        pass
    assert path.read_text() == lines[0] + "\n" + lines[2]


def test_a_journal_taken_up_does_not_hold_its_values_in_memory(tmp_path):
    long = replace(SCORED, trajectory="x" * 100_000)
    with Journal(tmp_path, IDENTITY) as journal:
        for i in range(100):
            journal.once(f"task {i}", Rollout, lambda: long)
    tracemalloc.start()
    with Journal(tmp_path, IDENTITY) as journal:
        remembered = [journal.once(f"task {i}", Rollout, never).trajectory == long.trajectory for i in range(100)]
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert remembered == [True] * 100
    assert peak < 2e6, "of the 10 MB, a few values at a time are in memory"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99, "token": "t", "identity": {}}', "null"])
def test_a_damaged_run_file_is_one_clear_error(tmp_path, text):
    with Journal(tmp_path, IDENTITY):
        pass
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(JournalError, match=r"run\.json is damaged"), Journal(tmp_path, IDENTITY):
        pass


def test_a_journal_without_its_run_file_is_refused(tmp_path):
    with Journal(tmp_path, IDENTITY):
        pass
    (tmp_path / "run.json").unlink()
    with pytest.raises(JournalError, match=r"run\.json is missing"), Journal(tmp_path, IDENTITY):
        pass


def test_a_changed_setting_is_refused_with_the_differences(tmp_path):
    with Journal(tmp_path, IDENTITY):
        pass
    with (
        pytest.raises(JournalError, match="epochs was 3, is 4") as caught,
        Journal(tmp_path, {**IDENTITY, "epochs": 4}),
    ):
        pass
    assert "restart=True" in str(caught.value)


def test_a_restart_puts_the_old_journal_aside(tmp_path):
    folder = tmp_path / "log"
    with Journal(folder, IDENTITY) as journal:
        journal.once("a", Rollout, lambda: LOST)
    with Journal(folder, {"epochs": 9}, restart=True) as journal:
        assert journal.once("a", Rollout, lambda: SCORED) == SCORED
    with Journal(tmp_path / "log.1", IDENTITY) as journal:
        assert journal.once("a", Rollout, never) == LOST


def test_a_second_process_is_refused(tmp_path):
    code = (
        "import sys; from tfgrpo_dspy.runtime.journal import Journal\n"
        f"try: Journal({str(tmp_path)!r}, {IDENTITY!r}).__enter__()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with Journal(tmp_path, IDENTITY):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("JournalError")
    assert "in use by another process" in ran.stdout


def test_fingerprints_tell_parts_apart():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint("a", "b") == fingerprint("a", "b")


def test_a_run_taken_up_makes_no_call_and_learns_the_same(tmp_path):
    examples = demo_examples(10, 0, "train")

    def learn():
        lm = simulated_lm(seed=0, cache=False)
        with dspy.context(lm=lm):
            optimizer = TrainingFreeGRPO(number, epochs=2, log_dir=tmp_path, num_threads=4)
            return optimizer.compile(dspy.ChainOfThought("question -> answer"), examples)

    first = learn()
    lines = (tmp_path / "journal.jsonl").read_bytes()
    second = learn()
    assert dump_library(first.experience_library) == dump_library(second.experience_library)
    assert (tmp_path / "journal.jsonl").read_bytes() == lines
    assert second.detailed_results.usage == first.detailed_results.usage
    assert second.detailed_results.traffic.calls == 0


def test_no_credential_reaches_the_run_file(tmp_path):
    with running_server(api_key="sk-very-secret") as base:
        lm = dspy.LM("openai/simulated", api_base=base, api_key="sk-very-secret")
        with dspy.context(lm=lm):
            optimizer = TrainingFreeGRPO(number, epochs=1, group_size=2, log_dir=tmp_path)
            optimizer.compile(dspy.Predict("question -> answer"), demo_examples(2, 0, "train"))
    written = "".join(path.read_text() for path in tmp_path.iterdir() if path.is_file())
    assert "secret" not in written
    assert base not in written


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
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
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


def test_the_journal_is_readable_line_by_line(tmp_path):
    with Journal(tmp_path, IDENTITY) as journal:
        journal.once("a", Rollout, lambda: SCORED)
    [line] = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert json.loads(line)["value"]["name"] == "s1/e0/r0"
