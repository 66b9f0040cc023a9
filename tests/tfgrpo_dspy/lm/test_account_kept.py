"""What a run spent counts over kill and resume, and under a cap nothing is sent that is not written down first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.lm.test_budget import compiled
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.errors import SettingsError, StoreError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.lm.account import Claim, Spending
from tfgrpo_dspy.lm.budget import Budget, OutOfBudget, Spent
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.runtime.stored import spent_in
from tfgrpo_dspy.simulated import running_server

# The account on it.


@contextmanager
def kept(folder: Path, budget: Budget | None = None) -> Iterator[Spending]:
    with Store(folder, {}) as store:
        spending = Spending(budget)
        spending.keep_in(store)
        yield spending


def test_a_call_is_written_down_before_it_is_sent_and_corrected_when_it_ends(tmp_path):
    with kept(tmp_path) as spending:
        reservation = spending.reserve(Claim("m"))
        assert spent_in(tmp_path).lm_calls == 1
        spending.settle(reservation, prompt_tokens=30, completion_tokens=12, cost_usd=0.5)
        spending.release(spending.reserve(Claim("m")))
    found = spent_in(tmp_path)
    assert (found.lm_calls, found.tokens, found.cost_usd) == (1, 42, 0.5)


def test_a_call_in_flight_at_the_kill_is_charged_what_was_set_aside_for_it(tmp_path):
    with kept(tmp_path, Budget(max_tokens=1000)) as spending:
        spending.settle(spending.reserve(Claim("m", 100)), prompt_tokens=100, completion_tokens=300)
        spending.reserve(Claim("m", 100))
    with kept(tmp_path) as spending:
        assert spending.spent.tokens == 800


def test_what_was_spent_before_counts_against_every_cap(tmp_path):
    with Store(tmp_path, {}) as store:
        store.add(Spent(1, 90, 1.0, 100.0))
    for budget in (
        Budget(max_lm_calls=1),
        Budget(max_tokens=90),
        Budget(max_cost_usd=1.0, price_per_million=(1, 1)),
        Budget(max_seconds=99),
    ):
        with pytest.raises(OutOfBudget), kept(tmp_path, budget) as spending:
            spending.reserve(Claim("m", 1))
    with kept(tmp_path, Budget(max_lm_calls=2)) as spending:
        spending.reserve(Claim("m"))


def test_what_a_pilot_spent_is_part_of_the_account_for_ever(tmp_path):
    with Store(tmp_path, {}) as store:
        spending = Spending(None)
        spending.carry(Spent(lm_calls=7))
        spending.keep_in(store)
        assert spending.spent.lm_calls == 7
    assert spent_in(tmp_path).lm_calls == 7


class Full:
    """A ledger on a disk that is full."""

    before = Spent()

    def add(self, change: Spent, *, is_due: bool = True) -> None:
        if is_due:
            raise StoreError("run.db cannot be written: the disk is full; make room on it")


@pytest.mark.parametrize("budget", [None, Budget(max_lm_calls=9)])
def test_what_cannot_be_written_down_is_not_spent(budget):
    spending = Spending(budget)
    spending.keep_in(Full())
    with pytest.raises(StoreError, match="the disk is full"):
        spending.reserve(Claim("m"))
    assert (spending.spent.lm_calls, spending.in_flight) == (0, 0)


# Whole runs.


def test_a_run_given_again_at_the_same_cap_spends_nothing_more_and_a_raised_one_goes_on(tmp_path):
    engine = Engine(script())
    given_again = {"log_dir": tmp_path, "count": 8}
    first = compiled(engine.lm(), Budget(max_lm_calls=30), **given_again).detailed_results
    assert engine.calls <= 30
    made = engine.calls
    again = compiled(engine.lm(), Budget(max_lm_calls=30), **given_again).detailed_results
    assert engine.calls <= 30
    assert again.stopped_by.startswith("max_lm_calls=30: ")
    assert len(again.library) >= len(first.library)
    raised = compiled(engine.lm(), Budget(max_lm_calls=1000), **given_again).detailed_results
    assert raised.stopped_by is None
    assert engine.calls > made
    assert engine.calls == spent_in(tmp_path).lm_calls
    whole = compiled(Engine(script()).lm(), None, count=8)
    assert dump_library(raised.library) == dump_library(whole.experience_library)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (Budget(max_lm_calls=5), r"\d+ calls are spent already, which is above the cap of 5; cap above that"),
        (Budget(max_tokens=7), r"tokens are spent already, which is above the cap of 7"),
    ],
)
def test_a_cap_below_what_is_spent_is_refused_at_once(tmp_path, budget, sentence):
    engine = Engine(script())
    compiled(engine.lm(), None, log_dir=tmp_path)
    made = engine.calls
    with pytest.raises(SettingsError, match=sentence):
        compiled(engine.lm(), budget, log_dir=tmp_path)
    assert engine.calls == made


def test_a_restart_begins_a_new_account(tmp_path):
    engine = Engine(script())
    compiled(engine.lm(), Budget(max_lm_calls=12), log_dir=tmp_path / "log")
    compiled(engine.lm(), Budget(max_lm_calls=12), log_dir=tmp_path / "log", restart=True)
    assert 12 < engine.calls <= 24


CHILD = """
import sys, dspy
from pathlib import Path
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.lm.budget import Budget
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples

base, cap = sys.argv[1:]
dspy.configure(lm=dspy.LM("openai/simulated", api_base=base, api_key="x", cache=False, seed=0))
optimizer = TrainingFreeGRPO(number, epochs=3, log_dir="log", num_threads=8, budget=Budget(max_lm_calls=int(cap)))
program = optimizer.compile(dspy.ChainOfThought("question -> answer"), demo_examples(24, 0, "train"))
Path("stopped_by").write_text(program.detailed_results.stopped_by or "")
"""


class Killer:
    """Counts the requests that the server answers, and kills the child at one of them."""

    def __init__(self) -> None:
        self.requests = 0
        self.at: int | None = None
        self.child: subprocess.Popen[bytes] | None = None

    def __call__(self, exchange: object) -> None:
        self.requests += 1
        if self.requests == self.at and self.child is not None:
            self.child.send_signal(signal.SIGKILL)

    def run(self, folder: Path, base: str, cap: int, at: int | None = None) -> int:
        """Run the child with that cap; its exit code."""
        self.at = at
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-c", CHILD, base, str(cap)]
        self.child = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
        return self.child.wait()


def test_200_calls_are_200_calls_over_kill_and_resume_together(tmp_path):
    killer = Killer()
    with running_server(on_exchange=killer) as base:
        assert killer.run(tmp_path, base, 200, at=90) == -signal.SIGKILL
        assert 90 <= killer.requests <= spent_in(tmp_path / "log").lm_calls <= 90 + 2 * 8
        assert killer.run(tmp_path, base, 200) == 0
    assert (tmp_path / "stopped_by").read_text().startswith("max_lm_calls=200: ")
    assert 150 < killer.requests <= spent_in(tmp_path / "log").lm_calls <= 200


def test_a_pilot_counts_against_the_cap_of_the_run_that_follows():
    engine = Engine(script())
    with dspy.context(lm=engine.lm()):
        optimizer = TrainingFreeGRPO(exact, group_size=3, num_threads=4, budget=Budget(max_lm_calls=40))
        made = optimizer.forecast(dspy.Predict("question -> answer"), examples(10), pilot=2)
        piloted = engine.calls
        assert made.spent.lm_calls == piloted > 0
        optimizer.spent = made.spent
        result = optimizer.compile(dspy.Predict("question -> answer"), examples(10)).detailed_results
    assert result.stopped_by.startswith("max_lm_calls=40: ")
    assert piloted < engine.calls <= 40
