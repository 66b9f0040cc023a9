from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.library.experience import Experience, id_number


@given(st.integers(min_value=0))
def test_an_id_is_the_letter_and_the_number(number: int) -> None:
    assert id_number(f"G{number}") == number


@pytest.mark.parametrize(
    "id", ["", "G", "7", "g7", "G07", "G-1", "G1.0", " G1", "G1\n", "G\u0661", "[G1]", "H1", "G1 "]
)
def test_anything_else_is_no_id_and_says_what_one_looks_like(id: str) -> None:
    with pytest.raises(ValueError, match="ids are G0, G1"):
        id_number(id)


def test_an_experience_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Experience("G0", "text").text = "other"  # type: ignore[misc]
