"""`tfgrpo compile` with a gate, a required gain and a test set: what it says of whether it helped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from programs.demo_world import write_problems
from tests.tfgrpo_dspy.command_line import SOLVER, run, the_error
from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import read_library
from tfgrpo_dspy.gates.holdout import Holdout
from tfgrpo_dspy.library.harm import Flag
from tfgrpo_dspy.records.evaluation import Gain
from tfgrpo_dspy.records.updates import Ruling, Trial
from tfgrpo_dspy.reports.markdown import render_report
from tfgrpo_dspy.reports.story import Story
from tfgrpo_dspy.reports.summary import summarise
from tfgrpo_dspy.reports.verdict import verdict_of
from tfgrpo_dspy.statistics.estimates import Difference

COMPILE = ("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated", "--no-tracking")
QUICK = ("--epochs", "1", "--group-size", "4", "--threads", "2")
NO_GAIN = Gain(Difference(0.01, -0.02, 0.04, 0.5, 30), "a gain was required, and what was learned is not better")


@pytest.fixture
def files():
    write_problems(Path(), train=16, test=40)


@pytest.mark.usefixtures("files")
def test_a_gated_run_reports_its_trials_and_the_gain_on_a_test_set():
    made = run(*COMPILE, *QUICK, "--gate", "judge", "--gate", "test.jsonl", "--test", "test.jsonl")
    assert made.exit_code == 0, made.output
    report = Path("out/report.md").read_text()
    assert "## Gate" in report
    assert "| passed |" in report or "| not shown |" in report
    assert "## Gain on held-out questions" in report
    assert "On held-out questions: " in report.partition("## Did it help?")[2]
    assert "Did it help?" in made.stdout


@pytest.mark.usefixtures("files")
def test_a_required_gain_that_does_not_show_leaves_the_program_as_it_was():
    Path("few.jsonl").write_text("".join(Path("test.jsonl").read_text().splitlines(keepends=True)[:2]))
    made = run(*COMPILE, *QUICK, "--require-gain", "--valset", "few.jsonl")
    assert made.exit_code == 0, made.output
    assert "so the student was returned as it was" in " ".join(made.stdout.split())
    assert len(read_library("out/library.json")) == 0
    assert "Not shown to be better" in Path("out/report.md").read_text()


@pytest.mark.usefixtures("files")
def test_a_forecast_counts_the_gate():
    shown = " ".join(run(*COMPILE, *QUICK, "--dry-run", "--gate", "test.jsonl", "--gate", "judge").stdout.split())
    assert " gate " in shown
    assert "the gate makes 32 to 480 rollouts a step" in shown


@pytest.mark.usefixtures("files")
def test_options_that_cannot_work_say_so():
    assert "require_gain needs" in the_error(run(*COMPILE, "--require-gain"))
    assert "there is no sign of harm" in the_error(run(*COMPILE, "--screen", "rude"))
    assert "on_uniform must be one of" in the_error(run(*COMPILE, "--on-uniform", "pray"))


def a_story(**changed) -> Story:
    made = MadeRun()
    result = replace(made.result, **{"initial_validation": None, "best_step": None, **changed})
    return Story("my_module:program", "train.jsonl", "exact", made.start, result, 1.0)


def test_without_anything_held_out_nothing_is_called_better():
    assert verdict_of(a_story()).startswith("Not measured")


def test_what_is_not_better_is_not_called_better():
    said = verdict_of(a_story(gain=NO_GAIN))
    assert said.startswith("Not shown to be better")
    assert "+0.010 [-0.020, +0.040]" in said
    assert verdict_of(a_story(gain=Gain(Difference(0.1, 0.05, 0.15, 0.001, 30), ""))).startswith("Better: +0.100")


def test_a_validation_that_chose_the_step_is_said_to_flatter_it():
    made = MadeRun()
    story = Story("p", "t", "exact", made.start, replace(made.result, best_step=2), 1.0)
    assert "which flatters it" in verdict_of(story)


def test_trials_and_signs_of_harm_are_in_the_report():
    steps = MadeRun().result.steps
    trial = Trial(3, "worse", Difference(-0.2, -0.3, -0.1, 0.001, 40), 0.1, 60.0, 2, 160)
    flag = Flag("leaked answer", "G0", "it holds '42', the answer of a training problem")
    first = replace(steps[0], ruling=Ruling(trials=(trial,)), flags=(flag,))
    report = render_report(a_story(steps=(first, *steps[1:])))
    assert "| 1 | 3 | -0.200 [-0.300, -0.100] | 40 | 0.1 of 60 | worse |" in report
    assert "## Signs of harm" in report
    assert "| 1 | G0 | leaked answer | it holds '42'" in report


def test_the_summary_in_mlflow_says_what_was_withheld():
    made = MadeRun()
    event = replace(list(made.events())[-1], result=replace(made.result, gain=NO_GAIN))
    text = summarise(event, title="t", lms={}, simulated=False, tolerance=1e-9)
    assert "The initial library was returned" in text


def test_the_most_that_a_holdout_takes_is_known_beforehand():
    from tests.tfgrpo_dspy.scripted import examples

    assert Holdout(examples(40), k=2, splits=1).most_rollouts == 3 * 2 * 40 * 2
