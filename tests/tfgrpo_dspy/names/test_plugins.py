"""What other distributions bring: found by name, loaded when it is asked for, blamed when it breaks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evals.harness.tasks import Task, find_task
from optimizers.registry import find_entry, known_entry, make_optimizer
from tests.tfgrpo_dspy.command_line import run, the_error
from tfgrpo_dspy import Add, ExperienceLibrary, LibraryFormatError, SettingsError, read_library, write_library
from tfgrpo_dspy.kit import load_plugin, plugins
from tfgrpo_dspy.rewards import number

CODE = """
import dspy
from tfgrpo_dspy import Add, ExperienceLibrary
from tfgrpo_dspy.rewards import number

def advice(metric, seed, calls):
    '''Says one thing.

    More about it.
    '''
    return "a teleprompter"

def task():
    return {"title": "Theirs", "student": dspy.Module, "metric": number, "data": lambda seed: ([1, 2], [3]),
            "lm": lambda seed: None, "model": "m", "program": "p"}

def half_a_task():
    return {"title": "Theirs"}

class Csv:
    read = staticmethod(lambda text, name: ExperienceLibrary().apply([Add(text=text.strip())]).library)

seven = 7
"""
POINTS = {
    "optimizers": {"advice": "advice", "seven": "seven", "tfgrpo": "seven", "broken": "no_such_name"},
    "tasks": {"theirs": "task", "half": "half_a_task", "seven": "seven"},
    "formats": {"csv": "Csv", "json": "seven"},
    "rewards": {"nearly": "number", "seven": "seven", "exact": "seven"},
}


@pytest.fixture(autouse=True)
def brought(tmp_path_factory, monkeypatch) -> None:
    """A distribution on the path, as pip leaves it there."""
    site: Path = tmp_path_factory.mktemp("site")
    (site / "their_code.py").write_text(CODE, encoding="utf-8")
    info = site / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n", encoding="utf-8")
    groups = (
        f"[tfgrpo_dspy.{kind}]\n" + "\n".join(f"{name} = their_code:{value}" for name, value in points.items())
        for kind, points in POINTS.items()
    )
    (info / "entry_points.txt").write_text("\n\n".join(groups), encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "their_code", raising=False)


def test_names_are_looked_up_without_loading_anything():
    assert set(plugins("optimizers")) == set(POINTS["optimizers"])
    assert "advice" in run("list").stdout
    assert "of theirs" in run("list").stdout
    assert "their_code" not in sys.modules
    assert load_plugin("rewards", "nearly") is number


def test_an_optimizer_has_the_first_paragraph_for_its_description():
    entry = find_entry("advice")
    assert (entry.description, entry.family) == ("Says one thing.", "plug-in")
    assert make_optimizer("advice", number) == "a teleprompter"
    assert find_entry("tfgrpo->advice").family == "chain"


def test_names_of_ours_cannot_be_taken():
    assert find_entry("tfgrpo").family == "ours"
    write_library(ExperienceLibrary(), "library.json")
    assert read_library("library.json") == ExperienceLibrary()


def test_a_task_may_be_made_of_fields():
    task = find_task("theirs")
    assert isinstance(task, Task)
    assert (task.name, task.title, task.k) == ("theirs", "Theirs", 5)
    assert (task.data(0).train, task.data(0).test) == ((1, 2), (3,))


def test_a_format_is_found_by_the_suffix_and_may_only_read(tmp_path):
    (tmp_path / "notes.csv").write_text("Check twice.\n")
    assert [e.text for e in read_library(tmp_path / "notes.csv")] == ["Check twice."]
    library = ExperienceLibrary().apply([Add(text="x")]).library
    with pytest.raises(LibraryFormatError, match="written as"):
        write_library(library, tmp_path / "out.csv")


def test_a_reward_is_a_metric_by_its_name():
    run("problems", "--train", "2", "--test", "2")
    answered = ("programs.demo_world:solver", "test.jsonl", "-k", "1", "--lm", "simulated")
    done = run("evaluate", *answered, "--metric", "nearly")
    assert done.exit_code == 0, done.output
    assert "choose one of exact, number, nearly, seven" in the_error(run("evaluate", *answered, "--metric", "close"))
    assert "a metric is a function" in the_error(run("evaluate", *answered, "--metric", "seven"))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda: find_entry("broken"), r"'broken' of theirs \(their_code:no_such_name\) cannot be loaded"),
        (lambda: find_entry("seven"), "must be a function of metric, seed and calls"),
        (lambda: find_entry("nobodys"), "the line-up is: none, .*advice"),
        (lambda: find_task("half"), "missing .*see docs/extending.md"),
        (lambda: find_task("seven"), "it must be a Task"),
        (lambda: find_task("nobodys"), "there are: demo, .*theirs"),
        (lambda: load_plugin("rewards", "nobodys"), "no distribution brings 'nobodys'"),
    ],
)
def test_what_is_wrong_with_one_is_said_with_whose_it_is(what, said):
    with pytest.raises(SettingsError, match=said):
        what()


def test_an_optimizer_that_nobody_knows_is_no_entry():
    assert known_entry("a recipe's own") is None
