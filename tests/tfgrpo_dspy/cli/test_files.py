"""What is left in a run's folder, and programs and metrics by reference."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import dspy
import pytest
from rich.console import Console

from tests.tfgrpo_dspy.command_line import STUDENTS
from tfgrpo_dspy import ExperienceLibrary, ProgramError, SettingsError, attach
from tfgrpo_dspy.cli.files import refresh_files, write_library_files
from tfgrpo_dspy.cli.references import load_metric, load_program, split_names
from tfgrpo_dspy.cli.terminal import table_of, us
from tfgrpo_dspy.data.examples import load_examples
from tfgrpo_dspy.program.inputs import check_fit, fit_of
from tfgrpo_dspy.program.saved import load_state, save_program, saved_library
from tfgrpo_dspy.rewards.metrics import exact

LIBRARY = ExperienceLibrary.from_texts(["Read {this} twice: $\\frac{1}{2}$, “so”."])


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("students.py").write_text(STUDENTS, encoding="utf-8")


def example(**fields: str) -> dspy.Example:
    return dspy.Example(**fields, answer="1").with_inputs(*fields)


def test_a_saved_program_is_what_dspy_saves():
    program = attach(dspy.ChainOfThought("question -> answer"), LIBRARY)
    program.save("theirs.json")
    save_program(program, Path("ours.json"))
    assert json.loads(Path("ours.json").read_text("utf-8")) == json.loads(Path("theirs.json").read_text("utf-8"))


def test_the_lms_of_a_program_are_saved_without_keys_and_endpoints():
    program = dspy.ChainOfThought("question -> answer")
    secrets = {"api_key": "sk-abcdefgh", "api_base": "http://anna:sesame@h/v1", "headers": {"x": "hush-hush"}}
    program.predict.lm = dspy.LM("openai/x", temperature=0.3, **secrets)
    save_program(program, Path("program.json"))
    text = Path("program.json").read_text("utf-8")
    assert not any(secret in text for secret in ("sk-abcdefgh", "sesame", "hush-hush"))
    loaded = load_state(program, Path("program.json"))
    assert (loaded.predict.lm.model, loaded.predict.lm.kwargs["temperature"]) == ("openai/x", 0.3)


def test_a_state_is_loaded_into_a_copy():
    program = dspy.ChainOfThought("question -> answer")
    save_program(attach(program, LIBRARY), Path("program.json"))
    loaded = load_state(program, Path("program.json"))
    assert "Read {this} twice" in loaded.predict.signature.instructions
    assert "Read {this} twice" not in program.predict.signature.instructions
    assert [e.text for e in saved_library(Path("program.json")) or ()] == [e.text for e in LIBRARY]


def test_a_bare_predictor_is_saved_and_read_like_any_program():
    program = dspy.Predict("question -> answer")
    save_program(attach(program, LIBRARY), Path("out/program.json"))
    write_library_files(LIBRARY, Path("out"))
    file = Path("out/program.json")
    assert "Read {this} twice" in load_state(program, file).signature.instructions
    assert [e.text for e in saved_library(file) or ()] == [e.text for e in LIBRARY]
    assert refresh_files(ExperienceLibrary.from_texts(["Now read it thrice."]), Path("out/library.json"))
    assert "thrice" in load_state(program, file).signature.instructions
    with pytest.raises(ProgramError, match="with self, but this program has predict"):
        load_state(dspy.ChainOfThought("question -> answer"), file)


def test_a_state_of_another_shape_is_refused():
    Path("program.json").write_text('{"predict": {"demos": 3}, "metadata": {}}', encoding="utf-8")
    with pytest.raises(ProgramError, match="cannot be loaded into this program"):
        load_state(dspy.ChainOfThought("question -> answer"), Path("program.json"))


@pytest.mark.parametrize("reference", ["students:solver", "students.py:solver", "./students.py:solver"])
def test_a_program_is_found_by_module_and_by_file(reference):
    assert isinstance(load_program(reference), dspy.ChainOfThought)


def test_a_program_may_be_a_class_or_an_attribute_of_one():
    assert [name for name, _ in load_program("students.py:Contextual").named_predictors()] == ["solve"]
    Path("boxed.py").write_text("import dspy\nclass Box:\n    it = dspy.Predict('a -> b')\n", encoding="utf-8")
    assert isinstance(load_program("boxed.py:Box.it"), dspy.Predict)


def test_a_file_finds_its_neighbours():
    Path("inner").mkdir()
    Path("inner/neighbour.py").write_text("import dspy\nit = dspy.Predict('a -> b')\n", encoding="utf-8")
    Path("inner/main.py").write_text("from neighbour import it\n", encoding="utf-8")
    assert isinstance(load_program("inner/main.py:it"), dspy.Predict)


def test_a_metric_is_built_in_or_found():
    assert load_metric("exact") is exact
    assert load_metric("students.py:raises").__name__ == "raises"
    with pytest.raises(SettingsError, match="it has a_word, makes_a_number"):
        load_metric("students.py:nowhere")


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


def test_inputs_are_repeated_or_separated_by_commas():
    assert split_names(["a, b", "c=d.0"]) == ("a", "b", "c=d.0")
    assert split_names(None) is None
    assert split_names([]) is None


def test_the_command_is_named_by_its_path_while_its_environment_is_not_activated(monkeypatch, tmp_path):
    script = tmp_path / ".venv" / "bin" / "tfgrpo"
    script.parent.mkdir(parents=True)
    script.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(script)])
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert us() == ".venv/bin/tfgrpo"
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/tfgrpo")
    assert us() == "tfgrpo"


@pytest.mark.parametrize("width", [60, 80])
def test_a_table_in_a_narrow_terminal_cuts_nothing_and_breaks_no_name(width):
    columns = ("optimizer", "mean", "gain", "verdict")
    row = ("bootstrap-fewshot->tfgrpo", "0.625 [0.238, 0.906]", "+0.344 [-0.546, +1.000]", "not distinguishable")
    console = Console(width=width, file=StringIO())
    console.print(table_of(columns, [row]))
    shown = console.file.getvalue()
    assert row[0] in shown
    assert sorted("".join(shown.split())) == sorted("".join("".join((*columns, *row)).split()))
