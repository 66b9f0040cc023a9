"""One library out of two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.command_line import run
from tests.tfgrpo_dspy.scripted import Engine
from tfgrpo_dspy import Experience, ExperienceLibrary, Provenance, Source, load_history, read_library
from tfgrpo_dspy.library.combine import union
from tfgrpo_dspy.library.file import save_library
from tfgrpo_dspy.steps.reconcile import reconcile
from tfgrpo_dspy.steps.reflection import Reflection

A = ExperienceLibrary.from_texts(["When it rains, take a coat.", "When it snows, take boots and a warm hat."])
LEARNED = Provenance("updater", 2, None, "the dry ones won", (Source("e1", ("s2/e1/r0",)),))
B = ExperienceLibrary(
    (
        Experience("G4", "When it snows, take boots and a warm hat!", provenance=LEARNED),
        Experience("G7", "When a river is deep, look for a bridge.", pinned=True, provenance=LEARNED),
        Experience("G9", "When fog comes, wait.", provenance=LEARNED),
    ),
    next_id=10,
    learned_with=("simulated",),
)


def test_the_first_keeps_its_ids_and_the_second_gets_new_ones_that_say_what_they_were():
    made = union(A, B, "b.json")
    assert [e.id for e in made.library] == ["G0", "G1", "G2", "G3"]
    assert made.library.experiences[:2] == A.experiences
    assert made.library["G2"].pinned
    assert made.library["G3"].provenance.reason == "it was G9 of b.json; the dry ones won"
    assert made.library["G3"].provenance.sources == LEARNED.sources
    assert made.repeats == {"G4": "G1"}
    assert made.library.learned_with == ("simulated",)


@given(*[st.lists(st.sampled_from([f"When {c} comes, do {c} {c}{c} at once." for c in "abcdef"]), max_size=6)] * 2)
def test_every_text_of_both_is_in_the_union_and_no_id_twice(first, second):
    a, b = (ExperienceLibrary.from_texts(dict.fromkeys(texts)) for texts in (first, second))
    made = union(a, b, "b")
    texts = [e.text for e in made.library]
    assert set(texts) | {made.library[id].text for id in made.repeats.values()} == set(texts)
    assert len(made.library) + len(made.repeats) == len(a) + len(b)
    assert made.library.experiences[: len(a)] == a.experiences


def reconciled(operations, a=A, b=B):
    asked = []

    def script(prompt):
        asked.append(prompt)
        return {"operations": operations}

    return reconcile(a, b, "b.json", Reflection(Engine(script).lm(), 0)), asked


def test_the_updater_is_asked_about_what_is_neither_pinned_nor_repeated():
    made, (asked,) = reconciled([])
    assert "- When fog comes, wait." in asked.field("advantages")
    assert "river" not in asked.field("advantages")
    assert "boots" not in asked.field("advantages")
    assert "[G0] When it rains" in asked.field("experiences")
    assert {e.text for e in made.library} == {e.text for e in A} | {e.text for e in B.experiences[1:]}, "none is lost"


def test_what_the_updater_writes_rests_on_both():
    text = "When rain or fog comes, take a coat and wait."
    made, _ = reconciled([{"op": "modify", "id": "G0", "text": text, "reason": "one for both", "sources": ["B0"]}])
    assert made.library["G0"].text == text
    assert made.library["G0"].provenance.sources == (Source("G9 of b.json"), *LEARNED.sources)
    assert [e.text for e in made.library][2:] == ["When a river is deep, look for a bridge."]


def test_an_experience_that_is_added_word_for_word_keeps_its_provenance():
    made, _ = reconciled([{"op": "add", "text": "When fog comes, wait.", "reason": "new", "sources": ["B0"]}])
    added = made.library["G2"]
    assert added.provenance.reason == "it was G9 of b.json; the dry ones won"
    assert (added.provenance.created_step, added.provenance.sources) == (2, LEARNED.sources)


@pytest.fixture
def files(tmp_path):
    save_library(A, tmp_path / "a.json")
    save_library(B, tmp_path / "b.json")
    return tmp_path / "a.json", tmp_path / "b.json"


def test_the_command_merges_as_a_commit(files):
    a, b = files
    done = run("library", "merge", a, b, "--no-lm")
    assert done.exit_code == 0, done.output
    assert len(read_library(a)) == 4
    commits = load_history(a.with_name("a.history.jsonl")).commits
    assert commits[-1].reason == "merged with b.json; of it G4 says what G1 does"
    assert [c.reason for c in commits[-1].changes] == [
        f"it was {id} of b.json; the dry ones won" for id in ("G7", "G9")
    ]
    assert run("library", "rollback", a, commits[0].id).exit_code == 0
    assert len(read_library(a)) == 2


def test_the_result_may_go_elsewhere_and_an_lm_may_reconcile(files, tmp_path):
    a, b = files
    done = run("library", "merge", a, b, "--lm", "simulated", "--out", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    assert read_library(a) == A
    assert len(read_library(tmp_path / "c.json")) == 4
    assert load_history(tmp_path / "c.history.jsonl").commits[-1].author == "updater"


def test_who_reconciles_has_to_be_said(files):
    for options in ([], ["--no-lm", "--lm", "simulated"]):
        done = run("library", "merge", *files, *options)
        assert done.exit_code == 2
        assert "--lm, or ask none with --no-lm" in " ".join(done.output.split())
