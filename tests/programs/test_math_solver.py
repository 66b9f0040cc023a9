"""The students for competition mathematics."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import dspy
import pytest
from dspy.utils import DummyLM

import programs.math
from programs.math_solver import PythonTool, direct, react
from programs.sandbox import Limits, Sandbox, bubblewrap
from tfgrpo_dspy.cli.references import load_program
from tfgrpo_dspy.program.inputs import check_fit

ROOT = Path(__file__).parents[2]
EXAMPLE = dspy.Example(problem="What is 6 * 7?", answer="42").with_inputs("problem")
LOCAL = {"unsafe_local_code": True, "limits": Limits(cpu_seconds=5)}


def call(code: str) -> dict[str, object]:
    return {"next_thought": "I compute.", "next_tool_name": "run_python", "next_tool_args": {"code": code}}


def solve(student: dspy.Module, *replies: dict[str, object]) -> dspy.Prediction:
    with dspy.context(lm=DummyLM(list(replies))):
        return student(problem=EXAMPLE.problem)


def test_the_direct_student_reasons_and_answers():
    assert solve(direct(), {"reasoning": "6 * 7 = 42", "answer": "42"}).answer == "42"


def test_the_agent_reads_what_its_code_printed_and_how_it_failed():
    finish = {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": {}}
    answer = {"reasoning": "It was printed.", "answer": "42"}
    codes = ["print(6 * 7)", "print(comb(4, 2))", "x = 1"]
    trajectory = solve(react(**LOCAL), *map(call, codes), finish, answer).trajectory
    assert trajectory["observation_0"] == "42"
    assert trajectory["observation_1"] == "Error: NameError: name 'comb' is not defined\n  line 1: print(comb(4, 2))"
    assert trajectory["observation_2"].startswith("(nothing was printed")


def test_the_agent_is_told_how_its_tool_works():
    instructions = react(**LOCAL).react.signature.instructions
    assert "Every call starts a new interpreter" in instructions
    assert "numpy and sympy can be imported" in instructions


@pytest.mark.parametrize(
    "code",
    [
        "print(42)",
        "```python\nprint(42)\n```",
        "```\nprint(42)\n```\n",
        "  ```py\nif True:\n    print(42)```",
    ],
)
def test_code_in_a_markdown_block_runs(code):
    assert PythonTool(Sandbox(unsafe_local_code=True)).run_python(code) == "42"


def test_a_fence_inside_the_code_is_left_alone():
    code = "text = '''\n```python\nx\n```\n'''\nprint(len(text))"
    assert PythonTool(Sandbox(unsafe_local_code=True)).run_python(code) == "17"


def test_the_command_line_finds_them_under_the_name_of_their_domain():
    assert programs.math.direct is direct
    assert math.sqrt(4) == 2
    student = load_program("programs.math:direct")
    check_fit(student, [EXAMPLE])


def test_the_command_line_makes_the_agent_with_a_sandbox():
    if reason := bubblewrap.why_not():
        pytest.skip(f"bubblewrap cannot be used here: {reason}")
    agent = load_program("programs.math:react")
    check_fit(agent, [EXAMPLE])
    assert agent.tools["run_python"](code="print(6 * 7)") == "42"


def test_a_script_that_would_hide_the_math_module_is_told_so(tmp_path):
    script = ROOT / "programs" / "demo_world.py"
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "run `python -m programs.<name>`" in done.stderr
