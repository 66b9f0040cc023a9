"""What a program takes, and whether examples have it."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.command_line import STUDENTS
from tfgrpo_dspy.cli.references import load_program
from tfgrpo_dspy.data.examples import load_examples
from tfgrpo_dspy.program.inputs import check_fit, fit_of


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("students.py").write_text(STUDENTS, encoding="utf-8")


def example(**fields: str) -> dspy.Example:
    return dspy.Example(**fields, answer="1").with_inputs(*fields)


def test_programs_and_examples_must_fit():
    check_fit(load_program("students.py:Contextual"), [example(context="c", question="q")])
    check_fit(load_program("students.py:solver"), [example(question="q")])
    with pytest.raises(match="reads question, but the examples' inputs are task"):
        check_fit(load_program("students.py:solver"), [example(task="q")])
    with pytest.raises(match="inputs are more, question"):
        check_fit(load_program("students.py:solver"), [example(question="q", more="m")])


class Liberal(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.solve = dspy.Predict("question -> answer")

    def forward(self, **inputs):
        return self.solve(**inputs)


def test_a_program_that_takes_anything_fits_anything():
    check_fit(Liberal(), [example(whatever="w")])


def wraps(signature: str) -> dspy.Module:
    program = Liberal()
    program.solve = dspy.Predict(signature)
    return program


DECLARE = {
    "predicts": dspy.Predict("problem -> answer"),
    "thinks": dspy.ChainOfThought("problem -> answer"),
    "acts": dspy.ReAct("problem -> answer", tools=[]),
    "chooses": dspy.BestOfN(dspy.ReAct("problem -> answer", tools=[]), 2, lambda _, __: 1.0, 1.0),
    "refines": dspy.Refine(dspy.Predict("problem -> answer"), 2, lambda _, __: 1.0, 1.0),
    "wraps": wraps("problem -> answer"),
}


@pytest.mark.parametrize("program", DECLARE.values(), ids=DECLARE)
def test_a_column_that_the_program_reads_by_its_name_is_not_renamed(program):
    Path("train.csv").write_text("problem,answer\nWhat is 2 + 2?,4\n", encoding="utf-8")
    (read,) = load_examples("train.csv", fit=fit_of(program))
    assert read.inputs().toDict() == {"problem": "What is 2 + 2?"}
    check_fit(program, [read])


@pytest.mark.parametrize("program", [p for name, p in DECLARE.items() if name != "wraps"], ids=list(DECLARE)[:-1])
def test_examples_without_what_the_program_reads_are_refused_whatever_its_kind(program):
    with pytest.raises(match="reads problem, but the examples' inputs are question"):
        check_fit(program, [example(question="q")])
