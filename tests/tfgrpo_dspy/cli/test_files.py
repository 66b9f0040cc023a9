"""What is left in a run's folder, and programs and metrics by reference."""

from __future__ import annotations

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
from tfgrpo_dspy.program.saved import load_state, save_program, saved_library
from tfgrpo_dspy.rewards.metrics import exact

LIBRARY = ExperienceLibrary.from_texts(["Read {this} twice: $\\frac{1}{2}$, “so”."])


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("students.py").write_text(STUDENTS, encoding="utf-8")


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
