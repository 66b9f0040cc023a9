"""Runs of the command line that are disturbed end as the undisturbed one did; `python -m benchmarks.soak` goes on."""

from __future__ import annotations

import pytest

from benchmarks.soak.__main__ import rows_of, soak
from benchmarks.soak.processes import serving
from benchmarks.soak.rounds import Round, Whole, wrong_in


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "number", "disturbances"),
    [
        ("plain", 41, ["damaged_page", "interrupt", "second_process", "terminate"]),
        ("review", 27, ["damaged_page", "outage", "full_disk", "kill"]),
        ("tracked", 7, ["end_at_first"]),
    ],
)
def test_a_disturbed_run_ends_as_the_undisturbed_one_did(tmp_path, scenario, number, disturbances):
    with serving() as endpoint:
        [made] = soak([scenario], range(number, number + 1), endpoint, tmp_path)
    assert list(made.disturbances) == disturbances
    assert made.wrong == ""
    assert made.starts >= 2


def test_what_came_out_otherwise_is_named_and_so_is_what_was_paid_twice():
    whole = Whole({"library.json": "{}", "program.json": "{}"}, calls=10)
    assert wrong_in(dict(whole.outcome), whole, excess=0) == ""
    assert "program.json came out otherwise" in wrong_in({"library.json": "{}", "program.json": ""}, whole, excess=0)
    assert "library.json, program.json" in wrong_in({}, whole, excess=0)
    assert wrong_in(dict(whole.outcome), whole, excess=3).startswith("3 calls more")


def test_the_table_has_a_line_for_each_scenario():
    rounds = [Round("plain", ["kill"], 3, 4, 2), Round("gate", [], wrong="it hung"), Round("plain", ["outage"])]
    plain, gate = rows_of(rounds)
    assert plain["rounds"] == 2
    assert plain["calls paid twice"] == 3
    assert (plain["wrong"], gate["wrong"]) == (0, 1)
