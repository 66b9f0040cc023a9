"""One library out of two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tfgrpo_dspy.command_line import run
from tests.tfgrpo_dspy.scripted import Engine
from tfgrpo_dspy import Experience, ExperienceLibrary, Provenance, Source, load_history, read_library
from tfgrpo_dspy.library.combine import combine
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


def reconciled(operations, a=A, b=B):
    asked = []

    def script(prompt):
        asked.append(prompt)
        return {"operations": operations}

    combined = combine([a, b], names=["a.json", "b.json"])
    return reconcile(combined, a, Reflection(Engine(script).lm(), 0)), asked


def test_the_updater_is_asked_about_what_is_neither_pinned_nor_repeated():
    made, (asked,) = reconciled([])
    assert "- When fog comes, wait." in asked.field("advantages")
    assert "river" not in asked.field("advantages")
    assert "boots" not in asked.field("advantages")
    assert "[G0] When it rains" in asked.field("experiences")
    assert {e.text for e in made.library} == {e.text for e in A} | {e.text for e in B.experiences[1:]}, "none is lost"
    assert [str(left) for left in made.left_out] == ["b.json:G4 (it repeats G1)"]


def test_what_the_updater_writes_rests_on_both():
    text = "When rain or fog comes, take a coat and wait."
    made, _ = reconciled([{"op": "modify", "id": "G0", "text": text, "reason": "one for both", "sources": ["B0"]}])
    assert made.library["G0"].text == text
    assert made.library["G0"].provenance.sources == (Source("b.json:G9"), *LEARNED.sources)
    assert [e.text for e in made.library][2:] == ["When a river is deep, look for a bridge."]
    assert str(made.left_out[-1]) == "b.json:G9 (said by G0)"


def test_an_experience_that_is_added_word_for_word_stays_as_it_is():
    made, _ = reconciled([{"op": "add", "text": "When fog comes, wait.", "reason": "new", "sources": ["B0"]}])
    assert made.library["G11"].provenance == replace(LEARNED, origin="b.json:G9")
    assert not made.changes


@pytest.mark.parametrize(
    ("operation", "fate"),
    [
        ({"op": "keep", "id": "G0", "sources": ["B0"]}, "said by G0"),
        ({"op": "add", "text": "When fog or smoke comes, stand still.", "sources": ["B0"]}, "said by G12"),
        (
            {"op": "modify", "id": "G0", "text": "When it snows, take boots and a warm hat.", "sources": ["B0"]},
            "said by G1",
        ),
        ({"op": "modify", "id": "G5", "text": "When fog comes, stop.", "sources": ["B0"]}, None),
        ({"op": "delete", "id": "G0", "sources": ["B0"]}, None),
        ({"op": "keep", "sources": ["B0"]}, None),
        ({"op": "modify", "id": "G0", "text": "When it rains, take an umbrella.", "sources": ["A7"]}, None),
    ],
)
def test_a_candidate_stays_unless_an_entry_says_it(operation, fate):
    made, _ = reconciled([{"reason": "why", **operation}])
    left = {one.origin: one.reason for one in made.left_out}
    assert left.get("b.json:G9") == fate
    assert ("When fog comes, wait." in [e.text for e in made.library]) == (fate is None)


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
    assert read_library(a).experiences[:2] == A.experiences
    commits = load_history(a.with_name("a.history.jsonl")).commits
    assert commits[-1].reason == "merged with b.json; left out: b.json:G4 (it repeats G1)"
    assert [c.reason for c in commits[-1].changes] == [f"it was b.json:{id}; the dry ones won" for id in ("G7", "G9")]
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
