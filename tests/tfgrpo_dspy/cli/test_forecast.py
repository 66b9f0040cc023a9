"""`tfgrpo compile --dry-run`: the forecast as a table, and nothing written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run, the_error
from tfgrpo_dspy.cli.app import app
from tfgrpo_dspy.cli.boundary import ENDED_EARLY
from tfgrpo_dspy.forecast.forecast import Range, count_text, time_text, usd_text
from tfgrpo_dspy.runtime.stored import reading, spent_in

COMPILE = ("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated", "--no-tracking")
QUICK = ("--epochs", "2", "--group-size", "4")


@pytest.fixture(autouse=True)
def inputs():
    problems()


def forecast(*arguments: str, quick: tuple[str, ...] = QUICK) -> str:
    result = run(*COMPILE, *quick, "--dry-run", *arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_it_shows_every_stage_and_writes_nothing():
    before = sorted(Path().rglob("*"))
    shown = forecast("--valset", "test.jsonl")
    assert "SIMULATED" in shown
    assert "Forecast of the whole run (simulated)" in shown
    for stage in ("rollouts", "summaries", "extractions", "update", "validation", "pilot only", "total"):
        assert f" {stage} " in shown
    assert "wall-clock time: " in shown
    assert "with 8 calls at once" in shown
    assert sorted(Path().rglob("*")) == before


def test_an_unknown_price_is_said_and_a_given_one_is_used():
    assert "the price of an LM is unknown" in forecast()
    shown = forecast("--price-per-million", "0.5,2")
    assert "$" in shown
    assert "unknown" not in shown.partition("wall-clock")[0]


def test_a_forecast_then_a_run_pays_the_pilot_once():
    forecast("--pilot", "4")
    result = run(*COMPILE, *QUICK)
    assert result.exit_code == 0, result.output
    cached = re.search(r"total +\d+ +(\d+)", result.stdout)
    assert cached is not None
    assert int(cached[1]) > 0


def test_a_pilot_of_no_example_is_one_error():
    result = run(*COMPILE, *QUICK, "--dry-run", "--pilot", "0")
    assert result.exit_code == 2
    assert "pilot" in the_error(result)


def test_a_run_that_costs_less_is_not_asked_about():
    result = run(*COMPILE, *QUICK, "--price-per-million", "0.5,2", "--confirm-above", "100")
    assert result.exit_code == 0, result.output
    assert Path("out/program.json").exists()


@pytest.mark.parametrize(
    ("more", "said"), [(("--price-per-million", "0.5,2"), "expected to cost $"), ((), "unknown (--price-per-million)")]
)
def test_a_run_that_costs_more_needs_a_yes(more, said):
    arguments = [*COMPILE, *QUICK, "--confirm-above", "0.000001", *more]
    refused = CliRunner().invoke(app, arguments, input="n\n", prog_name="tfgrpo")
    assert said in refused.stderr
    assert refused.exit_code != 0
    assert not Path("out/program.json").exists()
    agreed = CliRunner().invoke(app, arguments, input="y\n", prog_name="tfgrpo")
    assert agreed.exit_code == 0, agreed.output
    assert Path("out/program.json").exists()


def test_the_pilot_before_the_question_counts_against_the_cap():
    result = run(*COMPILE, *QUICK, "--price-per-million", "0.5,2", "--confirm-above", "100", "--max-lm-calls", "60")
    assert result.exit_code == ENDED_EARLY, result.output
    assert "Stopped by max_lm_calls=60 after step" in " ".join(result.stdout.split())
    with reading("out/log") as stored:
        pilot = next(record["value"] for record in stored.export() if record["kind"] == "spent")
    assert pilot["lm_calls"] > 10
    assert pilot["lm_calls"] < spent_in("out/log").lm_calls <= 60


def test_figures_are_short():
    assert [count_text(n) for n in (0, 999, 9_999, 12_345, 38e6)] == ["0", "999", "9,999", "12k", "38.0M"]
    assert [time_text(s) for s in (1.25, 40, 120, 21_600)] == ["1.2 s", "40 s", "2 min", "6.0 h"]
    assert Range(0.005, 18, 25).to_text(usd_text) == "$18.00 ($0.005 – $25.00)"
