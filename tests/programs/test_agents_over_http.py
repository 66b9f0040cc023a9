"""Both agents through the whole pipeline, over HTTP, on problems that the embedded LM does not know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from programs.sandbox import bubblewrap
from tests.tfgrpo_dspy.command_line import run
from tfgrpo_dspy.simulated import running_server

DATA = Path(__file__).parents[2] / "../shared/data"
DAPO = DATA / "dapo/dapo_math_17k_sample.jsonl"
WALKER = DATA / "webwalkerqa/webwalkerqa_main.jsonl"
MATH_ROWS = [
    {"problem": "Let ABC be a triangle with sides 7, 8 and 9. Find the square of its area.", "answer": "720"},
    {"problem": r"Evaluate $\int_0^1 x^{007} dx$ as m/n and give m + n.", "answer": "9"},
    {"problem": "Is every group of prime order cyclic?", "answer": "yes"},
]
WEB_ROWS = [
    {"question": "When was the bell cast?", "answer": "1712"},
    {"question": "Wer war Kaiser?", "answer": "Otto"},
]


def compiled(program: str, *more: str):
    with running_server() as url:
        lm = ("--lm", "openai/simulated", "--api-base", url)
        size = ("--epochs", "1", "--group-size", "2", "--no-tracking", "--out", "out")
        result = run("compile", program, "train.jsonl", *lm, *size, *more, env={"OPENAI_API_KEY": "any"})
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    assert Path("out/program.json").exists()
    return result.output


def write(rows) -> None:
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.skipif(bool(bubblewrap.why_not()), reason="bubblewrap cannot be used here")
def test_the_math_agent_guesses_at_what_it_does_not_know():
    write(MATH_ROWS)
    assert "3 examples" in compiled("programs.math:react", "--metric", "number")


def test_the_web_agent_guesses_at_what_it_does_not_know():
    pytest.importorskip("bm25s")
    write(WEB_ROWS)
    Path("bell.md").write_text("# The bell\n\nThe bell was cast in 1712.\n", encoding="utf-8")
    assert "all rollouts wrong" in " ".join(compiled("programs.web:react", "--search", "local").split())


@pytest.mark.skipif(bool(bubblewrap.why_not()) or not DAPO.exists(), reason="no bubblewrap, or no data")
def test_the_math_agent_takes_real_competition_problems():
    shutil.copy(DAPO, "train.jsonl")
    columns = ("--inputs", "problem=prompt.0.content", "--answer", "answer=reward_model.ground_truth")
    compiled("programs.math:react", "--metric", "number", "--limit", "4", *columns)


@pytest.mark.skipif(not WALKER.exists(), reason="no data")
def test_the_web_agent_takes_real_questions():
    pytest.importorskip("bm25s")
    shutil.copy(WALKER, "train.jsonl")
    Path("notes.txt").write_text("Nothing here is about it.\n", encoding="utf-8")
    compiled("programs.web:react", "--limit", "4", "--search", "local")
