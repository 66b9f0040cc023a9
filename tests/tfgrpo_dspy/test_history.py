from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.experience import Experience, ExperienceLibrary, Provenance
from tfgrpo_dspy.history import diff

texts = st.sampled_from(["Check the units.", "Draw a figure.", "Try small cases."])
libraries = st.dictionaries(st.integers(0, 12), st.tuples(texts, st.booleans())).map(
    lambda found: ExperienceLibrary(tuple(Experience(f"G{i}", t, p) for i, (t, p) in found.items()), next_id=13)
)


def library(**entries: str) -> ExperienceLibrary:
    return ExperienceLibrary(tuple(Experience(id, text) for id, text in entries.items()), next_id=99)


def test_a_diff_tells_added_removed_modified_and_kept_apart() -> None:
    found = diff(library(G0="a", G1="b", G2="c"), library(G0="a", G2="C", G3="d"))
    assert [e.id for e in found.added] == ["G3"]
    assert [e.id for e in found.removed] == ["G1"]
    assert [(old.text, new.text) for old, new in found.modified] == [("c", "C")]
    assert [e.id for e in found.kept] == ["G0"]


def test_the_text_reads_like_git_with_both_lines_of_a_modification() -> None:
    found = diff(library(G10="old", G1="gone", G0="same"), library(G0="same", G10="new", G11="fresh"))
    assert found.to_text() == "- [G1] gone\n- [G10] old\n+ [G10] new\n+ [G11] fresh\n"


def test_no_change_is_false_and_gives_no_text() -> None:
    found = diff(library(G0="a"), library(G0="a"))
    assert not found
    assert found.to_text() == ""


def test_a_pin_or_a_scope_is_a_change_and_is_shown() -> None:
    before = library(G0="a")
    after = ExperienceLibrary((replace(before["G0"], pinned=True, scope="extract.predict"),), next_id=99)
    assert diff(before, after).to_text() == "- [G0] a\n+ [G0] a  (pinned, only for extract.predict)\n"


def test_provenance_alone_is_no_change() -> None:
    before = library(G0="a")
    after = ExperienceLibrary((replace(before["G0"], provenance=Provenance("updater", 1, 2, "why")),), next_id=99)
    assert not diff(before, after)


def test_a_text_with_line_breaks_stays_on_one_line() -> None:
    assert diff(library(), library(G0="a\nb")).to_text() == "+ [G0] a b\n"


@given(libraries, libraries)
def test_every_id_of_either_library_is_in_exactly_one_part(a: ExperienceLibrary, b: ExperienceLibrary) -> None:
    found = diff(a, b)
    parts = [*found.added, *found.removed, *(new for _, new in found.modified), *found.kept]
    assert sorted(e.id for e in parts) == sorted({e.id for e in a} | {e.id for e in b})


@given(libraries, libraries)
def test_a_diff_turned_round_swaps_added_and_removed(a: ExperienceLibrary, b: ExperienceLibrary) -> None:
    there, back = diff(a, b), diff(b, a)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert {old.id for old, _ in there.modified} == {old.id for old, _ in back.modified}


@given(libraries)
def test_a_library_does_not_differ_from_itself(a: ExperienceLibrary) -> None:
    assert not diff(a, a)
    assert diff(a, a).kept == a.experiences
