"""A library and its history on disk: readable, whole at every instant, and never silently different."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.tfgrpo_dspy.history.test_history import a_history, events, lived
from tfgrpo_dspy.errors import HistoryError
from tfgrpo_dspy.history.commits import Note
from tfgrpo_dspy.history.file import (
    dump_history,
    extend,
    history_path,
    load_history,
    load_tracked,
    parse_history,
    save_tracked,
)
from tfgrpo_dspy.history.history import History, rollback
from tfgrpo_dspy.library.file import load_library, save_library
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add

LIBRARY, HISTORY = Path("library.json"), Path("library.history.jsonl")
PERSON = Note(author="person")


def after(history: History, text: str) -> History:
    return history.record(history.library.apply([Add(text=text)]).library, PERSON)


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


@given(events)
def test_a_history_is_read_back_as_it_was_written(happened):
    history, _ = lived(happened)
    text = dump_history(history)
    assert parse_history(text) == history
    assert dump_history(parse_history(text)) == text


def test_a_line_is_a_commit_that_people_can_read():
    save_tracked(a_history(), LIBRARY)
    lines = [json.loads(line) for line in HISTORY.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"format": "tfgrpo-history", "version": 1}
    assert len(lines) == 5
    changed = lines[2]["changes"][0]
    assert (changed["before"], changed["after"]["text"]) == ("Read twice.", "Read slowly.")
    assert lines[2]["at"] == "2026-01-02T03:04:05+0000"
    assert "refusals" not in lines[2], "what is empty is left out"


def test_the_history_lies_beside_its_library():
    assert history_path("out/library.json") == Path("out/library.history.jsonl")
    save_tracked(a_history(), "out/of/it/library.json")
    assert load_library("out/of/it/library.json") == a_history().library


def test_commits_are_only_added():
    history = a_history()
    save_tracked(history, LIBRARY)
    before = HISTORY.read_bytes()
    save_tracked(after(history, "Draw a figure."), LIBRARY)
    assert HISTORY.read_bytes().startswith(before)
    assert load_tracked(LIBRARY) == (after(history, "Draw a figure.").library, after(history, "Draw a figure."), "")


def test_the_library_is_the_head_of_its_history():
    save_tracked(a_history(), LIBRARY)
    tracked = load_tracked(LIBRARY)
    assert tracked.library == tracked.history.library == a_history().library
    assert tracked.difference == ""


def test_a_library_without_a_history_has_an_empty_one():
    save_library(a_history().library, LIBRARY)
    assert load_tracked(LIBRARY) == (a_history().library, History(), "")


# --- killed between and within writes ---


def test_a_library_left_one_commit_behind_is_brought_up_to_its_history():
    history = a_history()
    save_tracked(History(history.commits[:-1]), LIBRARY)
    HISTORY.write_text(dump_history(history), encoding="utf-8")  # killed before the library was written
    assert load_tracked(LIBRARY) == (history.library, history, "")
    assert load_library(LIBRARY) == history.library, "on disk, too"


def test_a_first_commit_without_its_library_is_completed():
    HISTORY.write_text(dump_history(a_history()), encoding="utf-8")
    assert load_tracked(LIBRARY).library == a_history().library
    assert load_library(LIBRARY) == a_history().library


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(events, st.data())
def test_at_whatever_byte_a_write_is_cut_the_library_is_that_of_a_commit(happened, data):
    for path in (LIBRARY, HISTORY):
        path.unlink(missing_ok=True)
    history, states = lived(happened)
    if not len(history):
        return
    shorter = History(history.commits[:-1])
    if len(shorter):
        save_tracked(shorter, LIBRARY)
    whole = dump_history(history).encode()
    start = len(dump_history(shorter).encode()) if len(shorter) else 0
    cut = data.draw(st.integers(start, len(whole)))
    HISTORY.write_bytes(whole[:cut])
    if not len(shorter) and not len(parse_history(whole[:cut].decode("utf-8", "replace"))):
        return  # nothing had been there, and nothing is
    tracked = load_tracked(LIBRARY)
    assert tracked.difference == ""
    assert tracked.library in (states[-2], states[-1])
    assert tracked.history.library == tracked.library
    again = after(tracked.history, "And then this.")
    extend(LIBRARY, again)
    assert load_history(HISTORY) == again
    assert load_library(LIBRARY) == again.library


def test_a_torn_last_line_is_left_out_and_cut_off_by_the_next_commit():
    history = a_history()
    save_tracked(history, LIBRARY)
    with HISTORY.open("ab") as file:
        file.write(b'{"id": "12", "auth')
    assert load_tracked(LIBRARY) == (history.library, history, "")
    extend(LIBRARY, after(history, "Draw a figure."))
    assert HISTORY.read_text(encoding="utf-8") == dump_history(after(history, "Draw a figure."))


def test_a_run_that_is_taken_up_completes_the_line_that_was_torn():
    save_tracked(a_history(), LIBRARY)
    whole = HISTORY.read_bytes()
    HISTORY.write_bytes(whole[:-30])
    save_tracked(a_history(), LIBRARY)
    assert HISTORY.read_bytes() == whole


def test_a_kill_between_the_renames_of_a_library_put_aside_loses_nothing():
    first, second = a_history(), after(History(), "Try small cases.")
    save_tracked(first, LIBRARY)
    LIBRARY.rename("library.1.json")  # killed here
    assert load_tracked(LIBRARY) == (first.library, first, "")
    save_tracked(second, LIBRARY)
    assert load_tracked("library.2.json") == (first.library, first, "")
    assert load_tracked(LIBRARY) == (second.library, second, "")


# --- damage and changes from outside ---


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda lines: [*lines[:2], lines[2][:40], *lines[3:]], "line 3 is damaged"),
        (lambda lines: [*lines[:2], "", *lines[3:]], "line 3 is damaged"),
        (lambda lines: [*lines[:2], "[1]", *lines[3:]], "line 3 is no JSON object"),
        (lambda lines: [*lines[:2], lines[2].replace("slowly", "quickly"), *lines[3:]], "line 3 was changed after"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 follows commit .*: a line is missing"),
        (lambda lines: lines[1:], "line 1: it is no history of version 1"),
        (lambda lines: ['{"format": "tfgrpo-history", "version": 2}', *lines[1:]], "no history of version 1"),
        (lambda lines: [*lines[:4], lines[4].replace("sure", "unsure")], "line 5 was changed after"),
    ],
)
def test_a_damaged_line_is_one_error_with_file_and_line(damage, problem):
    save_tracked(a_history(), LIBRARY)
    lines = HISTORY.read_text(encoding="utf-8").splitlines()
    HISTORY.write_text("\n".join(damage(lines)) + "\n", encoding="utf-8")
    with pytest.raises(HistoryError, match=f"library.history.jsonl.*{problem}") as caught:
        load_tracked(LIBRARY)
    assert "restore the file from a backup" in str(caught.value)


def test_bytes_that_are_no_utf8_are_damage_too():
    save_tracked(a_history(), LIBRARY)
    HISTORY.write_bytes(HISTORY.read_bytes().replace(b"slowly", b"sl\xffwly"))
    with pytest.raises(HistoryError, match="line 3 was changed after"):
        load_tracked(LIBRARY)


def test_a_field_of_a_newer_version_is_told_of():
    from tfgrpo_dspy.history.commits import document_of, id_of, to_line

    save_tracked(a_history(), LIBRARY)
    document = {**document_of(a_history().commits[0]), "author": "committee"}
    document["id"] = id_of(document)
    HISTORY.write_text(f"{HISTORY.read_text('utf-8').splitlines()[0]}\n{to_line(document)}\n", encoding="utf-8")
    with pytest.raises(HistoryError, match=r"line 2: author: .*a newer tfgrpo-dspy may have written it"):
        load_tracked(LIBRARY)


def test_a_library_that_was_changed_by_hand_is_told_of_in_one_sentence_that_says_how_to_mend_it():
    history = a_history()
    save_tracked(history, LIBRARY)
    LIBRARY.write_text(LIBRARY.read_text("utf-8").replace("Read slowly.", "Read fast."), encoding="utf-8")
    tracked = load_tracked(LIBRARY)
    assert tracked.library["G0"].text == "Read fast.", "what is on disk is what is read"
    assert tracked.difference == (
        f"library.json was changed outside its history, after commit {history.commits[-1].id} (1 changed); "
        "record that as your own change with `tfgrpo library commit library.json`"
    )


def test_a_library_that_was_only_laid_out_anew_is_the_same():
    save_tracked(a_history(), LIBRARY)
    LIBRARY.write_text(json.dumps(json.loads(LIBRARY.read_text("utf-8"))), encoding="utf-8")
    assert load_tracked(LIBRARY).difference == ""


def test_a_history_that_was_written_by_another_process_is_not_written_over():
    history = a_history()
    save_tracked(after(history, "Draw a figure."), LIBRARY)
    with pytest.raises(HistoryError, match="written by another process meanwhile; run the command again"):
        extend(LIBRARY, after(history, "Try small cases."))
    assert load_history(HISTORY) == after(history, "Draw a figure.")


# --- another run in the same folder ---


def test_another_history_puts_the_one_that_is_there_aside_with_its_library():
    first, second = a_history(), after(History(), "Try small cases.")
    assert save_tracked(first, LIBRARY) is None
    assert save_tracked(second, LIBRARY) == Path("library.1.json")
    assert load_tracked(LIBRARY) == (second.library, second, "")
    assert load_tracked("library.1.json") == (first.library, first, "")
    assert save_tracked(first, LIBRARY) == Path("library.2.json")


def test_a_library_without_history_is_put_aside_too():
    save_library(a_history().library, LIBRARY)
    save_tracked(after(History(), "Try small cases."), LIBRARY)
    assert load_library("library.1.json") == a_history().library
    LIBRARY.write_text("{oops", encoding="utf-8")
    save_tracked(after(History(), "Try small cases."), LIBRARY)
    assert Path("library.2.json").read_text("utf-8") == "{oops"


def test_a_change_by_hand_is_put_aside_rather_than_written_over():
    history = a_history()
    save_tracked(history, LIBRARY)
    save_library(ExperienceLibrary.from_texts(["By hand."]), LIBRARY)
    assert save_tracked(after(history, "Draw a figure."), LIBRARY) == Path("library.1.json")
    assert [e.text for e in load_library("library.1.json")] == ["By hand."]
    assert load_tracked(LIBRARY).history == after(history, "Draw a figure.")


def test_a_run_that_is_taken_up_leaves_what_it_had_written_later_until_it_gets_there():
    history = a_history()
    save_tracked(history, LIBRARY)
    assert save_tracked(History(history.commits[:2]), LIBRARY, is_final=False) is None
    assert load_tracked(LIBRARY) == (history.library, history, "")
    assert save_tracked(history, LIBRARY, is_final=False) is None
    assert names() == {"library.json", "library.history.jsonl"}
    assert save_tracked(History(history.commits[:2]), LIBRARY) == Path("library.1.json"), "but the end of it counts"


def test_a_rollback_is_appended_like_any_commit():
    history = a_history()
    save_tracked(history, LIBRARY)
    extend(LIBRARY, rollback(history, 1))
    assert load_tracked(LIBRARY) == (rollback(history, 1).library, rollback(history, 1), "")
