from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.texts import nasty
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.experience import Provenance, Source
from tfgrpo_dspy.library.library import Experience, ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, operation_id
from tfgrpo_dspy.library.section import CLOSING, OPENING, PREAMBLE, parse_lines, render_lines, render_section
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


PRICES = ExperienceLibrary.from_texts(
    [
        "Always state the unit.",
        "When a price falls twice, take the second fall off the lowered price.",
        "When trains meet, add their speeds.",
        "When a garden is fenced, count the posts.",
    ]
)


FRAME = estimate_tokens(f"{OPENING}\n{PREAMBLE}\n{CLOSING}")
"""Tokens of a section without its entries."""


def test_a_library_renders_as_the_section_that_a_prompt_takes() -> None:
    assert PRICES.render() == render_section(PRICES.experiences)
    assert ExperienceLibrary().render() == ExperienceLibrary().render("a task", 1) == ""


@given(st.integers(FRAME + 12, FRAME + 150))
def test_what_is_rendered_keeps_to_its_budget_and_takes_what_fits_the_task_first(budget: int) -> None:
    text = PRICES.render("When do the two trains meet?", budget)
    assert estimate_tokens(text) <= budget
    assert "[G2]" in text


def test_pinned_experiences_are_rendered_first_and_what_most_groups_speak_for_before_the_rest() -> None:
    spoken_for = replace(PRICES["G3"], provenance=Provenance(sources=(Source("e1"), Source("e2"))))
    library = replace(PRICES, experiences=(*PRICES.experiences[:3], spoken_for)).pin("G2")
    assert [id for id, _ in parse_lines(library.render("no word of it", FRAME + 25))] == ["G2", "G3"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"task": "trains"}, "give one, e.g. `budget=800`"), ({"budget": 40}, r"the first takes about \d+ with")],
)
def test_what_cannot_be_rendered_is_said(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        PRICES.render(**asked)
