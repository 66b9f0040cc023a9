"""Programs that bring their own LM keep it, and its address, when what they learned is loaded into them."""

from __future__ import annotations

import json
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.command_line import problems, run
from tfgrpo_dspy import attach
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.program.saved import load_state, save_program
from tfgrpo_dspy.simulated import running_server

PUBLIC = "sk-of-the-public-account"
LIBRARY = ExperienceLibrary.from_texts(["When in doubt, look twice."])
CODE = """
import dspy

def make():
    program = {program}
    program.{predictor}lm = dspy.LM("openai/simulated", api_base={url!r}, api_key="x", cache=False, seed=1)
    return program
"""


@pytest.fixture
def url():
    with running_server(seed=0) as address:
        yield address


@pytest.mark.parametrize(
    ("program", "predictor"),
    [('dspy.ChainOfThought("question -> answer")', "predict."), ('dspy.Predict("question -> answer")', "")],
)
def test_a_learned_program_asks_the_lm_that_its_code_makes(program, predictor, url, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", PUBLIC)
    problems(4, 4)
    Path("own.py").write_text(CODE.format(program=program, predictor=predictor, url=url), encoding="utf-8")
    learning = ("compile", "own.py:make", "train.jsonl", "--metric", "number", "--epochs", "1", "--group-size", "2")
    compiled = run(*learning, "--no-tracking", "--lm", "openai/simulated", "--api-base", url)
    assert compiled.exit_code == 0, compiled.output
    evaluated = run("evaluate", "out/program.json", "test.jsonl", "--lm", "openai/simulated", "--api-base", url)
    assert evaluated.exit_code == 0, evaluated.output
    assert "api.openai.com" not in evaluated.output
    alone = run("evaluate", "out/program.json", "test.jsonl")
    assert alone.exit_code == 0, alone.output


class Two(dspy.Module):
    def __init__(self, lm: dspy.LM | None) -> None:
        super().__init__()
        self.first, self.second = dspy.Predict("question -> hint"), dspy.Predict("question, hint -> answer")
        self.second.lm = lm


@pytest.mark.parametrize("made", [None, dspy.LM("openai/new", api_base="http://127.0.0.1:1/v1", api_key="x")])
def test_a_saved_lm_replaces_none_neither_where_the_code_makes_another_nor_where_it_makes_none(made):
    saved = Two(dspy.LM("openai/old", api_base="http://127.0.0.1:2/v1", api_key="x"))
    save_program(attach(saved, LIBRARY), Path("program.json"))
    assert json.loads(Path("program.json").read_text(encoding="utf-8"))["second"]["lm"]["model"] == "openai/old"
    program = Two(made)
    loaded = load_state(program, Path("program.json"))
    assert loaded.first.lm is None
    assert loaded.second.lm is made or loaded.second.lm.kwargs == made.kwargs
    assert LIBRARY["G0"].text in loaded.second.signature.instructions
    assert program.second.signature.instructions == Two(None).second.signature.instructions
