from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.texts import nasty
from tfgrpo_dspy.library.library import Experience, ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, operation_id
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.text import estimate_tokens, one_line


def test_a_library_of_texts_numbers_them_and_leaves_blank_ones_out() -> None:
    library = ExperienceLibrary.from_texts(["Draw a figure.", " \n ", "Check\nthe units."], author="import")
    assert [(e.id, e.text) for e in library] == [("G0", "Draw a figure."), ("G1", "Check the units.")]
    assert library.next_id == 2
    assert {e.provenance.author for e in library} == {"import"}


@given(st.lists(nasty))
def test_any_texts_make_a_library_of_single_lines(texts: list[str]) -> None:
    library = ExperienceLibrary.from_texts(texts)
    assert [e.text for e in library] == [line for line in map(one_line, texts) if line]
    assert library.tokens == estimate_tokens(render_lines(library))


def test_experiences_are_found_by_id() -> None:
    library = ExperienceLibrary.from_texts(["a", "b"])
    assert len(library) == 2
    assert library["G1"].text == "b"
    assert "G1" in library
    assert "G2" not in library
    with pytest.raises(KeyError, match="G2"):
        library["G2"]


@pytest.mark.parametrize(
    ("ids", "next_id", "message"),
    [
        (["G0", "G0"], 1, "two experiences share an id"),
        (["G3"], 3, "next_id is 3 but G3 exists"),
        (["G3"], 0, "next_id is 0 but G3 exists"),
        (["first"], 1, "'first' is no experience id"),
    ],
)
def test_a_library_whose_ids_could_be_confused_is_refused(ids: list[str], next_id: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExperienceLibrary(tuple(Experience(id, "text") for id in ids), next_id)


def test_a_library_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ExperienceLibrary().next_id = 3  # type: ignore[misc]


def test_pinning_gives_a_new_library_and_can_be_taken_back() -> None:
    library = ExperienceLibrary.from_texts(["a", "b"])
    pinned = library.pin("G0")
    assert pinned["G0"].pinned
    assert not library["G0"].pinned
    assert pinned.pin("G0", pinned=False) == library
    with pytest.raises(KeyError):
        library.pin("G9")


def test_a_predictor_reads_what_is_for_all_and_what_is_scoped_to_it() -> None:
    library = ExperienceLibrary(
        (Experience("G0", "all"), Experience("G1", "a", scope="a"), Experience("G2", "b", scope="b")), 3
    )
    assert [e.id for e in library.scoped_to("a")] == ["G0", "G1"]
    assert [e.id for e in library.scoped_to("c")] == ["G0"]


def test_the_id_an_operation_names_is_found_for_every_kind() -> None:
    operations = [Add(text="t"), Modify(id="G1", text="t"), Delete(id="G2"), Keep(), Keep(id="G3")]
    assert [operation_id(operation) for operation in operations] == [None, "G1", "G2", None, "G3"]
