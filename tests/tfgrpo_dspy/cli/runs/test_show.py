from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run, the_error
from tests.tfgrpo_dspy.rollouts.test_recorded import keep, scored
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.recorder import Call
from tfgrpo_dspy.program.transcript import render_trajectory
from tfgrpo_dspy.records.rollouts import Lost, Made

HOSTILE = "page \x1b]0;owned\x07\x1b[2J [bold]markup[/bold] \u202ereversed\x9b31m"


def react(thought: str, code: str, observation: str) -> str:
    turn = {"next_thought": thought, "next_tool_name": "run", "next_tool_args": {"code": code}}
    return render_trajectory(
        [
            Call("predictor", "react", {"question": "2 + 2?"}, turn, None),
            Call("tool", "run", {"code": code}, {"": observation}, None),
            Call("predictor", "extract.predict", {}, {"answer": "4"}, None),
        ]
    )


@pytest.fixture
def agent_run() -> None:
    made = {
        "s1/e12/r0": replace(scored("s1/e12/r0"), trajectory=react("as [G7] says, add", "2+2", "4"), tool_calls=1),
        "s1/e12/r3": replace(scored("s1/e12/r3", 0.0), trajectory=react("as [G7] says, add", "2+2", HOSTILE)),
        "s1/e13/r0": Lost("s1/e13/r0", "infrastructure", "TimeoutError: slow", Usage(), 1.0),
    }
    keep(Path("out/log"), {f"training seed 0: {name} 0af1": (Made, value) for name, value in made.items()})


@pytest.mark.usefixtures("agent_run")
def test_a_rollout_is_shown_with_thoughts_calls_observations_reward_and_citations():
    shown = run("show-rollout", "out", "s1/e12/r0")
    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    for expected in ("SIMULATED", "Rollout s1/e12/r0", "reward 1", "feedback well done", "cited G7", "2 tool run"):
        assert any(line.startswith(expected) for line in lines), expected
    assert "thought as [G7] says, add" in lines
    assert "observation 4" in lines
    assert not any("next_tool" in line for line in lines), "the tool's own turn shows the call"


@pytest.mark.usefixtures("agent_run")
@pytest.mark.parametrize("columns", ["40", "120"])
def test_two_rollouts_are_compared_and_the_first_divergence_marked(columns):
    shown = run("show-rollout", "out", "s1/e12/r0", "s1/e12/r3", env={"COLUMNS": columns})
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines()[1:-1])) <= int(columns)
    assert "≠ 2 tool run (they part here)" in shown.stdout
    assert "they part at turn 2; rewards 1 and 0" in shown.stdout
    titles = shown.stdout.splitlines()[1]
    assert "s1/e12/r0" in titles
    assert ("s1/e12/r3" in titles) == (columns == "120")


@pytest.mark.usefixtures("agent_run")
def test_text_of_a_page_cannot_steer_the_terminal():
    shown = run("show-rollout", "out", "s1/e12/r3", env={"FORCE_COLOR": "1", "NO_COLOR": ""}).stdout
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown
    assert not set(shown) & {"\x07", "\x9b", "\u202e"}
    assert "<1b>]0;owned<07>" in shown
    assert "[bold]markup[/bold]" in shown


@pytest.mark.usefixtures("agent_run")
def test_without_a_name_the_rollouts_are_listed():
    shown = run("show-rollout", "out")
    assert "s1/e12/r3" in shown.stdout
    assert "TimeoutError: slow" in shown.stdout
    assert run("show-rollout", "out", "s1/e13/r0").exit_code == 0


@pytest.mark.usefixtures("agent_run")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "no run.db of a run in nowhere"),
        (["out", "e12"], "'e12' is no name of a rollout"),
        (["out", "s1/e12/r1"], "s1/e12 has s1/e12/r0, s1/e12/r3"),
        (["out", "s9/e12/r1"], "lists what there is"),
        (["out", "s1/e12/r0", "s1/e13/r0"], "answer different questions"),
        (["out", "s1/e12/r0", "s1/e12/r0", "s1/e12/r0"], "3 were named"),
        (["out", "--of", "validation"], "it holds 3 of training"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_sentence(arguments, expected):
    shown = run("show-rollout", *arguments)
    assert shown.exit_code == 2
    assert expected in the_error(shown)


def test_a_rollout_of_a_real_run_is_shown():
    problems(train=4)
    done = run(
        *("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated"),
        *("--epochs", "2", "--out", "out", "--no-tracking"),
    )
    assert done.exit_code == 0, done.output
    shown = run("show-rollout", "out", "s2/e0/r0")
    assert shown.exit_code == 0, shown.output
    assert "1 answer" in shown.stdout  # a lone predictor goes by what it gives
    assert "LM calls" in shown.stdout


def test_the_help_has_an_example():
    assert "tfgrpo show-rollout out s1/e12/r0" in " ".join(run("show-rollout", "--help").stdout.split())
