"""The ledger: what a run spent counts over kill and resume, and nothing is sent that is not written down first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tfgrpo_dspy.lm.test_budget import compiled
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.errors import JournalError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.lm.account import Claim, Spending
from tfgrpo_dspy.lm.budget import Budget, OutOfBudget, Spent
from tfgrpo_dspy.lm.ledger import Ledger, spent_in
from tfgrpo_dspy.simulated import running_server

# The file.


@given(
    changes=st.lists(st.builds(Spent, st.integers(0, 9), st.integers(-9, 99), st.floats(0, 1)), max_size=9),
    cut=st.integers(0, 600),
)
@settings(max_examples=40, deadline=None)
def test_a_ledger_cut_anywhere_holds_the_sum_of_its_whole_lines(tmp_path_factory, changes, cut):
    path = tmp_path_factory.mktemp("log") / "spent.jsonl"
    ledger = Ledger(path)
    for change in changes:
        ledger.add(change)
    ledger.close()
    data = path.read_bytes()
    path.write_bytes(data[: min(cut, len(data))])
    whole = data[: min(cut, len(data))].count(b"\n")
    again = Ledger(path)
    assert again.before == sum(changes[:whole], Spent())
    again.add(Spent(lm_calls=1))
    again.close()
    assert spent_in(path.parent) == sum(changes[:whole], Spent()) + Spent(lm_calls=1)


@pytest.mark.parametrize("line", ["{oops", "[]", '{"calls": 1}', '{"lm_calls": "1"}'])
def test_a_damaged_line_in_the_middle_is_one_clear_error(tmp_path, line):
    (tmp_path / "spent.jsonl").write_text(f'{{"lm_calls": 1}}\n{line}\n{{"lm_calls": 1}}\n')
    with pytest.raises(JournalError, match=r"spent\.jsonl, line 2 is damaged"):
        spent_in(tmp_path)


def test_where_there_is_no_ledger_nothing_was_spent(tmp_path):
    assert spent_in(tmp_path / "nowhere") == Spent()


def test_a_straggler_of_a_run_that_was_stopped_writes_nothing(tmp_path):
    ledger = Ledger(tmp_path / "spent.jsonl")
    ledger.close()
    ledger.close()
    ledger.add(Spent(lm_calls=1))
    assert spent_in(tmp_path) == Spent()


# The account on it.


def kept(folder: Path, budget: Budget | None = None) -> Spending:
    spending = Spending(budget)
    spending.keep_in(Ledger(folder / "spent.jsonl"))
    return spending


def test_a_call_is_written_down_before_it_is_sent_and_corrected_when_it_ends(tmp_path):
    spending = kept(tmp_path)
    reservation = spending.reserve(Claim("m"))
    assert spent_in(tmp_path).lm_calls == 1
    spending.settle(reservation, prompt_tokens=30, completion_tokens=12, cost_usd=0.5)
    spending.release(spending.reserve(Claim("m")))
    found = spent_in(tmp_path)
    assert (found.lm_calls, found.tokens, found.cost_usd) == (1, 42, 0.5)


def test_a_call_in_flight_at_the_kill_is_charged_what_was_set_aside_for_it(tmp_path):
    spending = kept(tmp_path, Budget(max_tokens=1000))
    spending.settle(spending.reserve(Claim("m", 100)), prompt_tokens=100, completion_tokens=300)
    spending.reserve(Claim("m", 100))
    assert kept(tmp_path).spent.tokens == 800


def test_what_was_spent_before_counts_against_every_cap(tmp_path):
    first = kept(tmp_path)
    first.settle(first.reserve(Claim("m")), prompt_tokens=90, cost_usd=1.0)
    (tmp_path / "spent.jsonl").open("a").write('{"seconds": 100.0}\n')
    for budget in (
        Budget(max_lm_calls=1),
        Budget(max_tokens=90),
        Budget(max_cost_usd=1.0, price_per_million=(1, 1)),
        Budget(max_seconds=99),
    ):
        with pytest.raises(OutOfBudget):
            kept(tmp_path, budget).reserve(Claim("m", 1))
    kept(tmp_path, Budget(max_lm_calls=2)).reserve(Claim("m"))


def test_what_a_pilot_spent_is_part_of_the_account_for_ever(tmp_path):
    spending = Spending(None)
    spending.carry(Spent(lm_calls=7))
    spending.keep_in(Ledger(tmp_path / "spent.jsonl"))
    assert spending.spent.lm_calls == kept(tmp_path).spent.lm_calls == 7


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_on_a_full_disk_nothing_more_is_spent(tmp_path):
    ledger = Ledger(tmp_path / "spent.jsonl")
    spending = Spending(None)
    spending.keep_in(ledger)
    flying = spending.reserve(Claim("m"))
    os.close(ledger._file)
    ledger._file = os.open("/dev/full", os.O_WRONLY)
    spending.settle(flying)
    with pytest.raises(OutOfBudget, match="No space left on device: what the run spends cannot be written down"):
        spending.reserve(Claim("m"))
    assert (spending.spent.lm_calls, spending.in_flight) == (1, 0)


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
