from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.combine import combine
from tfgrpo_dspy.library.file import dump_library, parse_library
from tfgrpo_dspy.library.library import Circumstances, Experience, ExperienceLibrary

MATH = ExperienceLibrary(
    (Experience("G0", "Draw a figure."), Experience("G4", "Convert units first.")), 7, ("lm-a",), "math"
)
STYLE = ExperienceLibrary((Experience("G0", "Answer in one line."),), 1, ("lm-b",), "house style")

texts = st.lists(st.text("abc ", min_size=1, max_size=12).filter(str.strip), max_size=5, unique_by=str.strip)


def library(entries: list[str], domain: str | None = None) -> ExperienceLibrary:
    made = ExperienceLibrary.from_texts(entries)
    return ExperienceLibrary(made.experiences, made.next_id, domain=domain)


def test_the_first_library_keeps_its_ids_and_the_next_goes_on_after_them():
    made = combine([MATH, STYLE]).library
    assert [(e.id, e.provenance.origin) for e in made] == [
        ("G0", "math:G0"),
        ("G4", "math:G4"),
        ("G7", "house style:G0"),
    ]
    assert (made.next_id, made.learned_with, made.domain) == (8, ("lm-a", "lm-b"), "math + house style")


def test_a_single_library_comes_back_as_it_is():
    assert combine([MATH]) == (MATH, ())


def test_what_does_not_fit_is_left_out_whole_from_the_first_on_and_said():
    made = combine([MATH, STYLE], max_tokens=5)
    assert [e.text for e in made.library] == ["Draw a figure."]
    assert [str(left) for left in made.left_out] == ["math:G4 (beyond 5 tokens)", "house style:G0 (beyond 5 tokens)"]


@pytest.mark.parametrize("text", ["Draw  a figure.", "draw a figure!"])
def test_what_an_earlier_library_says_already_is_left_out_and_its_twin_named(text):
    left = combine([MATH, library([text])]).left_out
    assert [(one.origin, one.reason) for one in left] == [("library 2:G0", "it repeats G0")]


def test_two_libraries_of_one_domain_are_told_apart():
    origins = [e.provenance.origin for e in combine([library(["a"], "math"), library(["b"], "math")]).library]
    assert origins == ["math:G0", "math 2:G0"]


def test_libraries_may_be_named():
    made = combine([MATH, STYLE, library(["Draw a figure."])], names=["a.json", "b.json", "c.json"])
    assert [e.provenance.origin for e in made.library] == ["a.json:G0", "a.json:G4", "b.json:G0"]
    assert [str(left) for left in made.left_out] == ["c.json:G0 (it repeats G0)"]


def test_a_library_may_repeat_itself():
    twice = ExperienceLibrary((Experience("G0", "Take the oldest."), Experience("G1", "Take the oldest!")), 2)
    assert [e.text for e in combine([twice, twice]).library] == ["Take the oldest.", "Take the oldest!"]


def test_what_other_predictors_read_is_no_repetition():
    only = ExperienceLibrary((Experience("G0", "Draw a figure.", scope="plan"),), 1)
    other = ExperienceLibrary((Experience("G0", "Draw a figure.", scope="solve"),), 1)
    assert [e.scope for e in combine([only, other, MATH]).library] == ["plan", "solve", None, None]
    assert [str(left) for left in combine([MATH, only]).left_out] == ["library 2:G0 (it repeats G0)"]


def test_what_is_known_of_the_libraries_stays_where_it_is_one():
    learned = ExperienceLibrary(next_id=1, domain="math", learned_under=Circumstances("ReAct", "exact"))
    assert combine([learned, library(["a"])]).library.learned_under == learned.learned_under
    assert combine([learned, MATH]).library.domain == "math"
    other = ExperienceLibrary(learned_under=Circumstances("Predict", "exact"))
    assert combine([learned, other]).library.learned_under == Circumstances()


def test_an_experience_remembers_its_first_home_through_a_second_combination():
    again = combine([library(["z"], "other"), combine([MATH, STYLE]).library]).library
    assert [e.provenance.origin for e in again][1:] == ["math:G0", "math:G4", "house style:G0"]


@pytest.mark.parametrize(("libraries", "bound"), [([], None), ([MATH], 0)])
def test_nothing_to_combine_and_no_room_are_refused(libraries, bound):
    with pytest.raises(SettingsError):
        combine(libraries, max_tokens=bound)


@given(st.lists(texts, min_size=1, max_size=4), st.none() | st.integers(1, 30))
def test_every_experience_is_taken_once_or_said_to_be_left_out(entries, bound):
    made = combine([library(each) for each in entries], max_tokens=bound)
    assert len(made.library) + len(made.left_out) == sum(map(len, entries))
    assert bound is None or made.library.tokens <= bound
    assert parse_library(dump_library(made.library)) == made.library


def test_domain_and_circumstances_are_in_the_file_only_where_they_are_known():
    bare = dump_library(library(["a"]))
    assert "domain" not in bare
    assert "learned_under" not in bare
    known = ExperienceLibrary(domain='"maths"', learned_under=Circumstances("ReAct", "exact", "be right"))
    assert parse_library(dump_library(known)) == known
    assert parse_library(dump_library(known).replace('"version"', '"version" ')) == known


def test_a_domain_of_two_lines_is_refused():
    with pytest.raises(ValueError, match="one line"):
        ExperienceLibrary(domain="a\nb")
