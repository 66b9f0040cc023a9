"""The table of reward and tool calls by step."""

from __future__ import annotations

from dataclasses import replace

from evals.reports.steps import steps_of
from evals.scoring.table import tabulate
from tests.evals.small import made_result, small_row

ROWS = [small_row("none"), small_row("tfgrpo")]
RESULTS = [made_result(ROWS[0], [[0, 1]] * 6), made_result(ROWS[1], [[1, 1]] * 5 + [[0, 1]])]


def test_each_step_has_its_reward_with_error_bar_and_its_tool_calls():
    grid = steps_of(tabulate(ROWS, RESULTS, "none"))
    assert [row[:3] for row in grid.rows] == [
        ("none", "all", "test"),
        *(("tfgrpo", "0", str(step)) for step in (1, 2, 3)),
        ("tfgrpo", "all", "test"),
    ]
    assert grid.rows[1][3:] == ("0.200 [0.100, 0.900]", "0.50", "3")
    assert grid.rows[-1][4] == "1.00"


def test_programs_without_tools_have_no_such_table():
    bare = [
        replace(result, curve=(), questions=tuple(replace(q, tool_calls=(0, 0)) for q in result.questions))
        for result in RESULTS
    ]
    assert steps_of(tabulate(ROWS, bare, "none")) is None
