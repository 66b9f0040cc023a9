"""`tfgrpo library`: show, diff, export and import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import ROOT, SOLVER, problems, run, said, the_error
from tfgrpo_dspy import Add, Delete, ExperienceLibrary, Modify, Source, attach, read_library, write_library
from tfgrpo_dspy.program.saved import save_program
from tfgrpo_dspy.simulated.student import make_solver

DATA = ROOT.parent / "shared" / "data"


def a_library() -> ExperienceLibrary:
    first = ExperienceLibrary().apply(
        [
            Add(text="When in a hurry, slow down [bold]now[/bold].", reason="it won", sources=("A",)),
            Add(text="Count both ends."),
        ],
        step=1,
        sources={"A": Source("e3", ("s1/e3/r0",))},
    )
    return first.library.pin("G1")


@pytest.fixture(autouse=True)
def files():
    write_library(a_library(), "library.json")


def test_show_lists_what_a_program_would_read():
    text = said("show", "library.json")
    assert "2 experiences" in text
    assert "slow down [bold]now[/bold]." in text, "a library is text, never markup"
    assert "(pinned)" in text
    assert "it won" not in text


def test_show_tells_where_each_came_from():
    assert "learned in step 1, from e3: it won" in said("show", "library.json", "--provenance")


def test_show_reads_a_saved_program_and_a_folder():
    save_program(attach(make_solver(), a_library()), Path("run/program.json"))
    write_library(a_library(), "run/library.json")
    for source in ("run/program.json", "run"):
        assert "Count both ends." in said("show", source)
    save_program(make_solver(), Path("bare/program.json"))
    assert "0 experiences" in said("show", "bare/program.json")


def test_diff_shows_what_changed_by_id():
    changed = a_library().apply([Modify(id="G0", text="When in a hurry, pause."), Add(text="Check the units.")]).library
    write_library(changed.pin("G1", False).apply([Delete(id="G1")]).library, "after.json")
    text = said("diff", "library.json", "after.json")
    assert "+ [G0] When in a hurry, pause." in text
    assert "- [G1] Count both ends." in text
    assert "+ [G2] Check the units." in text
    assert "1 added, 1 removed, 1 changed, 0 as before" in text


def test_export_writes_the_three_formats():
    for name in ("copy.json", "copy.md", "copy.txt"):
        assert f"2 experiences written to {name}" in said("export", "library.json", name)
        assert [e.text for e in read_library(name)] == [e.text for e in a_library()]
    assert read_library("copy.json") == a_library()


def test_import_makes_a_library_of_plain_text():
    Path("tips.txt").write_text("- Read twice.\n- Check units.\n", encoding="utf-8")
    said("import", "tips.txt", "imported.json")
    assert [e.text for e in read_library("imported.json")] == ["Read twice.", "Check units."]


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize(
    ("file", "entries"),
    [
        ("youtu/math_practice_agent.yaml", 27),
        ("youtu/web_practice_agent.yaml", 46),
        ("ace/readme_counter_playbook.txt", 2),
    ],
)
def test_import_reads_what_others_have_released(file, entries):
    said("import", DATA / file, "imported.json")
    assert len(read_library("imported.json")) >= entries
    assert "imported" in said("show", "imported.json", "--provenance")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("show nowhere.json", "there is no file nowhere.json"),
        ("show damaged.json", "no valid JSON"),
        ("show other.json", "no experience library"),
        ("show picture.png", "no known library format"),
        ("diff library.json nowhere.json", "there is no file nowhere.json"),
        ("export library.json copy.pdf", "written as .json, .md, .txt or .yaml"),
        ("import library.json copy.md", "imported into a .json file"),
    ],
)
def test_mistakes_are_one_sentence(arguments, problem):
    Path("damaged.json").write_text("{oops", encoding="utf-8")
    Path("other.json").write_text('{"format": "other"}', encoding="utf-8")
    Path("picture.png").touch()
    result = run("library", *arguments.split())
    assert problem in the_error(result)
    assert result.exit_code == 2


def test_a_long_library_is_shown_in_part_after_a_run_and_in_full_here(monkeypatch):
    problems(12)
    monkeypatch.setattr("tfgrpo_dspy.cli.view._ENTRIES_SHOWN", 1)
    arguments = ("--metric", "number", "--epochs", "1", "--lm", "simulated", "--no-tracking")
    result = run("compile", SOLVER, "train.jsonl", *arguments)
    assert f"and {len(read_library('out/library.json')) - 1} more, see library.md" in result.stdout
    assert all(e.id in said("show", "out") for e in read_library("out/library.json"))
