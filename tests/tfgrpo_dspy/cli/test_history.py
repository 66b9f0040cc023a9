"""`tfgrpo library log, blame, rollback, commit, edit, add, delete, pin, unpin`, and histories that runs leave."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run, said, the_error
from tests.tfgrpo_dspy.history.test_history import a_history
from tests.tfgrpo_dspy.made_events import effect_on
from tfgrpo_dspy import ExperienceLibrary, attach, read_library
from tfgrpo_dspy.history.commits import Note, Scores
from tfgrpo_dspy.history.file import dump_history, history_path, load_history, load_tracked, save_tracked
from tfgrpo_dspy.history.history import History
from tfgrpo_dspy.history.of_run import begin
from tfgrpo_dspy.library.file import save_library
from tfgrpo_dspy.library.operations import Add
from tfgrpo_dspy.program.saved import save_program, saved_library
from tfgrpo_dspy.simulated.student import make_solver

LIBRARY = Path("library.json")
FAST = ("--metric", "number", "--epochs", "2", "--lm", "simulated", "--no-tracking")


@pytest.fixture(autouse=True)
def files():
    save_tracked(a_history(), LIBRARY)


def refused(*arguments: str | Path) -> str:
    before = LIBRARY.read_bytes(), history_path(LIBRARY).read_bytes()
    result = run("library", *arguments)
    assert result.exit_code == 2, result.output
    assert (LIBRARY.read_bytes(), history_path(LIBRARY).read_bytes()) == before
    return the_error(result)


def commits() -> list[str]:
    return [commit.id for commit in load_tracked(LIBRARY).history]


# --- looking ---


def test_show_and_blame_tell_what_experiences_were_measured_to_do():
    assert "no effects were measured" in refused("show", "library.json", "--effects")
    history = load_tracked(LIBRARY).history
    measured = [effect_on(e, -0.25) for e in history.library][:1]
    id = measured[0].id
    scored = Note(author="person", scores=Scores(effects=tuple(measured)))
    more = history.library.apply([Add(text="When reading, look twice.")]).library
    save_tracked(history.record(more, scored), LIBRARY)
    for place in ("library.json", "."):
        shown = " ".join(said("show", place, "--effects").split())
        assert "effect undecided: -0.250 [-0.350, -0.150] where it applies" in shown
        assert "effect not measured" in shown
    assert "effect undecided: -0.250" in said("blame", "library.json", id)
    assert "effect" not in said("show", "library.json")


def test_a_run_with_trials_leaves_its_effects_in_the_history():
    problems()
    options = ("--trials", "--out", "made")
    assert run("compile", SOLVER, "train.jsonl", *FAST, *options).exit_code == 0
    assert "rollouts with it" in Path("made/report.md").read_text(encoding="utf-8")
    assert "rollouts with it" in said("show", "made", "--effects").replace("\n", " ")
    assert sorted(path.name for path in Path("made").glob("library.*")) == [
        "library.history.jsonl",
        "library.json",
        "library.md",
    ]


def test_log_lists_the_commits_the_last_one_first():
    lines = said("log", "library.json").splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(reversed(commits()))
    assert "person" in lines[1]
    assert "1 pinned" in lines[1]
    assert "it is sure" in lines[1]
    assert "step 2" in lines[2]
    assert "2026-01-02 03:04" in lines[3]


def test_blame_tells_the_life_of_an_experience():
    text = said("blame", "library.json", "[G0]")
    assert text.startswith("G0 is in the library; 3 changes\n")
    assert f"added by the updater, step 1, commit {commits()[0]}" in text
    assert "changed by a person, 2026-01-02 03:04" in text
    assert "- Read twice." in text
    assert "+ Read slowly." in text
    assert "e3: Add 2 and 2." in text
    assert "rewards in s1/e3: r0 0, r1 1" in text
    assert "it won" in text
    assert "G1 is no longer in the library" in said("blame", "library.json", "G1")


def test_what_a_kill_left_undone_is_done_when_the_library_is_looked_at():
    history = a_history()
    LIBRARY.unlink()
    history_path(LIBRARY).unlink()
    save_tracked(History(history.commits[:-1]), LIBRARY)
    history_path(LIBRARY).write_text(dump_history(history), encoding="utf-8")
    assert "(pinned)" in said("show", "library.json")
    assert read_library("library.json") == history.library


def test_show_tells_of_a_commit_and_the_library_after_it():
    text = said("show", "library.json", commits()[1][:5])
    assert "+ [G0] Read slowly." in text
    assert "2 experiences after it" in text
    assert "Count both ends." in text


def test_diff_compares_commits_and_files():
    first, second, *_ = commits()
    assert "(pinned)" in said("diff", "library.json"), "the last commit"
    assert "- [G1] Count both ends." in said("diff", "library.json", first), "since the first"
    between = said("diff", "library.json", first, second)
    assert "- [G0] Read twice.\n+ [G0] Read slowly.\n" in between
    assert "0 added, 0 removed, 1 changed, 1 as before" in between
    save_library(ExperienceLibrary(), "other.json")
    assert "1 removed" in said("diff", "library.json", "other.json")


# --- changing ---


@pytest.fixture
def unpinned(files):
    said("unpin", "library.json", "G0", "-m", "to be changed")


@pytest.mark.usefixtures("unpinned")
def test_edit_changes_a_text_and_says_what_it_did():
    text = said("edit", "library.json", "G0", "Read it three times.", "--reason", "slowly says little")
    assert "+ [G0] Read it three times." in text
    assert f"commit {commits()[-1]}: 1 changed" in text


@pytest.mark.usefixtures("unpinned")
def test_a_change_is_a_commit_of_a_person_with_its_reason_and_time():
    said("edit", "library.json", "G0", "Read it three times.", "-m", "slowly says little")
    last = load_tracked(LIBRARY).history.commits[-1]
    assert (last.author, last.reason) == ("person", "slowly says little")
    assert last.at[:2] == "20"
    experience = load_tracked(LIBRARY).library["G0"]
    assert (experience.provenance.author, experience.provenance.reason) == ("person", "slowly says little")
    assert experience.provenance.sources, "what it came from is still known"


@pytest.mark.usefixtures("unpinned")
def test_edit_opens_an_editor_when_no_text_is_given(monkeypatch):
    editor = Path("editor.sh")
    editor.write_text('#!/bin/sh\nsed -i "s/slowly/aloud/" "$1"\n', encoding="utf-8")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", f"{Path.cwd()}/editor.sh")
    said("edit", "library.json", "G0")
    assert load_tracked(LIBRARY).library["G0"].text == "Read aloud."
    monkeypatch.setenv("EDITOR", "true")
    assert "the text is that of G0 already" in refused("edit", "library.json", "G0")
    monkeypatch.setenv("EDITOR", "false")
    assert "the editor 'false' failed" in refused("edit", "library.json", "G0")
    monkeypatch.delenv("EDITOR")
    assert "give the new text, or name an editor" in refused("edit", "library.json", "G0")


def test_add_delete_pin_and_unpin():
    said("add", "library.json", "When counting, include both ends.")
    assert [e.id for e in load_tracked(LIBRARY).library] == ["G0", "G2"]
    said("pin", "library.json", "G2")
    assert load_tracked(LIBRARY).library["G2"].pinned
    said("unpin", "library.json", "G2", "G0")
    said("delete", "library.json", "G2", "G0", "--reason", "to begin anew")
    assert len(load_tracked(LIBRARY).library) == 0
    said("add", "library.json", "Begin at the end.")
    assert [e.id for e in load_tracked(LIBRARY).library] == ["G3"], "ids are never used again"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("edit", "library.json", "G0", "other"), "G0 is pinned; unpin it first: tfgrpo library unpin library.json"),
        (("edit", "library.json", "G9", "other"), "there is no G9"),
        (("add", "library.json", "  "), "the text is empty"),
        (("add", "library.json", "word " * 33), "33 words, at most 32 are allowed"),
        (("add", "library.json", "Read slowly."), "it repeats G0"),
        (("delete", "library.json", "G1"), "there is no G1"),
        (("delete", "library.json", "G0"), "G0 is pinned"),
        (("pin", "library.json", "G0"), "G0 is pinned already"),
        (("unpin", "library.json", "G9"), "there is no G9"),
        (("rollback", "library.json"), "name the commit to go back to or --step N"),
        (("rollback", "library.json", "abcdef", "--step", "1"), "one of the two"),
        (("rollback", "library.json", "abcdef"), "there is no commit 'abcdef'"),
        (("rollback", "library.json", "--step", "7"), "there is no step 7; there are steps 1 to 2"),
        (("commit", "library.json"), "there is nothing to commit"),
        (("blame", "library.json", "G7"), "there has never been a G7"),
        (("log", "nowhere.json"), "there is no file nowhere.json"),
        (("log", "library.md"), "only the .json file of a library has one"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason_and_changes_nothing(arguments, problem):
    assert problem in refused(*arguments)


def test_more_words_are_allowed_when_asked_for():
    said("add", "library.json", " ".join(f"word{i}" for i in range(40)), "--max-words", "40")


def test_rollback_restores_the_texts_and_is_a_commit_itself():
    before = commits()
    text = said("rollback", "library.json", "--step", "1", "--reason", "it was better")
    assert "+ [G1] Count both ends." in text
    assert [e.text for e in load_tracked(LIBRARY).library] == ["Read twice.", "Count both ends."]
    assert commits()[:-1] == before
    assert "it was better" in said("log", "library.json")
    said("rollback", "library.json", before[-1])
    assert [e.text for e in load_tracked(LIBRARY).library] == ["Read slowly."]


def test_the_program_and_the_text_beside_a_library_follow_it():
    Path("out").mkdir()
    save_tracked(a_history(), "out/library.json")
    save_program(attach(make_solver(), a_history().library), Path("out/program.json"))
    Path("out/library.md").write_text("old", encoding="utf-8")
    said("rollback", "out", "--step", "1")
    texts = ["Read twice.", "Count both ends."]
    assert [e.text for e in saved_library(Path("out/program.json"))] == texts
    assert "Count both ends." in Path("out/library.md").read_text(encoding="utf-8")
    said("rollback", "out", "--step", "0")
    assert len(saved_library(Path("out/program.json"))) == 0
    said("rollback", "out", "--step", "1")
    assert [e.text for e in saved_library(Path("out/program.json"))] == texts


def test_a_program_whose_readers_are_not_known_is_left_and_told_of():
    save_program(make_solver(), Path("program.json"))
    state = json.loads(Path("program.json").read_text("utf-8"))
    name = next(name for name in state if name != "metadata")
    Path("program.json").write_text(json.dumps({**state, "second": state[name]}), encoding="utf-8")
    result = run("library", "unpin", "library.json", "G0")
    assert result.exit_code == 0
    assert "program.json does not say where it reads a library" in result.stderr


# --- beginnings, and hands ---


def test_the_history_of_a_library_begins_with_its_first_change():
    save_library(a_history().library, "plain.json")
    assert "plain.json has no history yet" in the_error(run("library", "log", "plain.json"))
    said("add", "plain.json", "Draw a figure.")
    history = load_history(history_path("plain.json"))
    assert [(c.author, c.summary) for c in history] == [("import", "1 added"), ("person", "1 added")]
    assert history.commits[0] == begin(a_history().library).commits[0]


def test_a_library_changed_by_hand_is_shown_with_a_warning_and_not_changed_further_until_committed():
    changed = LIBRARY.read_text("utf-8").replace("Read slowly.", "Read fast.")
    LIBRARY.write_text(changed, encoding="utf-8")
    result = run("library", "log", "library.json")
    assert result.exit_code == 0
    assert "tfgrpo library commit library.json" in result.stderr
    assert "was changed outside its history" in refused("add", "library.json", "Draw a figure.")
    text = said("commit", "library.json")
    assert "- [G0] Read slowly.  (pinned)\n+ [G0] Read fast.  (pinned)\n" in text
    assert load_tracked(LIBRARY).difference == ""
    assert "changed by hand" in said("log", "library.json")


def test_a_hand_cannot_use_an_id_again():
    document = json.loads(LIBRARY.read_text("utf-8"))
    document["experiences"].append({"id": "G1", "text": "Something new."})
    LIBRARY.write_text(json.dumps(document), encoding="utf-8")
    assert "G1 is the id of an experience that was deleted" in refused("commit", "library.json")


def test_a_damaged_history_is_one_sentence():
    path = history_path(LIBRARY)
    path.write_text(path.read_text("utf-8").replace("slowly", "quickly"), encoding="utf-8")
    assert "library.history.jsonl, line 3 was changed after it was written" in refused("log", "library.json")


# --- runs ---


def test_a_run_leaves_the_history_of_its_library():
    problems()
    assert run("compile", SOLVER, "train.jsonl", *FAST).exit_code == 0
    tracked = load_tracked("out/library.json")
    assert tracked.difference == ""
    assert [(c.author, c.step) for c in tracked.history] == [("updater", 1), ("updater", 2)]
    blamed = said("blame", "out", tracked.library.experiences[0].id)
    assert "added by the updater, step 1" in blamed
    assert "question:" in blamed
    assert re.search(r"show-rollout out s1/e\d+/r0", blamed), "a person can see what was read there"
    assert read_library("out/library.json") == tracked.history.library


def test_the_same_run_has_the_same_history_and_another_puts_it_aside():
    problems()
    run("compile", SOLVER, "train.jsonl", *FAST)
    first = Path("out/library.history.jsonl").read_bytes()
    again = run("compile", SOLVER, "train.jsonl", *FAST, "--restart")
    assert again.exit_code == 0
    assert Path("out/library.history.jsonl").read_bytes() == first
    assert "put aside" not in again.stderr
    other = run("compile", SOLVER, "train.jsonl", *FAST, "--restart", "--seed", "3")
    assert "another library was in out; it was put aside as library.1.json" in other.stderr
    assert Path("out/library.1.history.jsonl").read_bytes() == first
    assert load_tracked("out/library.json").difference == ""


def test_a_run_that_starts_from_a_library_goes_on_with_its_history():
    problems()
    assert run("compile", SOLVER, "train.jsonl", *FAST, "--library", "library.json").exit_code == 0
    history = load_tracked("out/library.json").history
    assert history.commits[:4] == a_history().commits
    assert [c.step for c in history.commits[4:]] == [1, 2]
    assert "Read slowly." in said("blame", "out", "G0")


def test_a_run_with_a_valset_leaves_the_library_that_did_best():
    problems()
    result = run("compile", SOLVER, "train.jsonl", *FAST, "--valset", "test.jsonl")
    assert result.exit_code == 0, result.output
    tracked = load_tracked("out/library.json")
    assert tracked.difference == ""
    assert all(c.scores.validation is not None for c in tracked.history if c.author == "updater")
    assert saved_library(Path("out/program.json")) is not None
    texts = [e.text for e in saved_library(Path("out/program.json"))]
    assert sorted(texts) == sorted(e.text for e in tracked.library)


def test_reading_leaves_a_folder_as_it_is():
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    for command in (["log"], ["show"], ["diff"]):
        said(*command, "library.json")
    said("blame", "library.json", "G0")
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
