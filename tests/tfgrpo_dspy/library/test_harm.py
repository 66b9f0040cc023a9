"""Signs of harm: what is flagged, and above all what is not."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy import Add, ExperienceLibrary, Source
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.screen import Screen, flags_of, known_of
from tfgrpo_dspy.library.harm import Known, contradicted, drift, leaked_answers, over_specific
from tfgrpo_dspy.settings import Settings

PRICE = "A coat of $1,840 at Miller is 15% off on Monday; what does it cost Anna?"
TRAINSET = [
    dspy.Example(question=PRICE, answer="1564").with_inputs("question"),
    dspy.Example(question="What is 5 + 7?", answer="12").with_inputs("question"),
    dspy.Example(question="Who wrote Emma?", answer="Jane Austen").with_inputs("question"),
]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("When a coat is reduced, write 1564.", "1564"),
        ("When a coat is reduced, write 1,564.00 at once.", "1564"),
        ("When adding small numbers, the answer is 12.", "12"),
        ("When asked for an author, say Jane Austen.", "Jane Austen"),
        ("When asked for a city, try Paris.", "Paris"),
    ],
)
def test_an_answer_that_an_experience_gives_away_is_found(text, answer):
    assert leaked_answers(text, [answer]) == [answer]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("When there are 12 months in play, count each of them.", "12"),
        ("When converting percentages, divide by 100.", "100"),
        ("When years are counted, take 365 days.", "365"),
        ("When a total is 15640, check it.", "1564"),
        ("When it is 3.1564, round it.", "1564"),
        ("When unsure, do not say yes.", "yes"),
        ("When the text is Yes or No, be brief.", "No"),
        ("When comparing parishes, use their size.", "Paris"),
        ("When the answer is 12.5, round it.", "12"),
    ],
)
def test_small_numbers_constants_parts_of_numbers_and_short_words_are_no_leaks(text, answer):
    assert leaked_answers(text, [answer]) == []


def test_a_label_that_several_examples_share_may_be_named():
    assert Known.of(["a", "b", "c"], ["Sports News", "Sports News", "Jane Austen"]).answers == ("Jane Austen",)


def test_names_and_numbers_of_the_problem_it_was_drawn_from_are_found_and_general_ones_are_not():
    found = over_specific("When Anna buys for 1840 at 15% off, multiply by 0.85.", [PRICE], [PRICE])
    assert found == ["1840", "15", "Anna"]
    assert over_specific("When Anna buys, divide by 100.", [PRICE], [PRICE, "Anna sings."]) == []
    assert over_specific("When a price is cut, take the share that remains.", [PRICE], [PRICE]) == []
    assert over_specific("Always read Miller twice.", [], [PRICE]) == []


def test_opposite_advice_is_found_by_its_words():
    one = "When overlapping groups are counted, count the people in both groups a single time."
    other = (
        "When overlapping groups are counted, use the plain sum; do not count the people in both groups a single time."
    )
    assert contradicted(other, [("G0", one)]) == ["G0"]
    assert contradicted(one, [("G0", other)]) == ["G0"]
    assert contradicted("When unsure, always show every step.", [("G1", "When unsure, never show every step.")]) == [
        "G1"
    ]
    up, down = "When a result is halved, round the number up.", "When a result is halved, round the number down."
    assert contradicted(up, [("G2", down)]) == ["G2"]


def test_advice_on_another_thing_and_a_rewording_are_no_contradictions():
    one = "When speeds are averaged, divide the whole distance by the whole time; do not average the speeds."
    others = [
        ("G0", "When a journey has parts, divide the whole distance by the whole time; never average the speeds."),
        ("G1", "When ages are averaged, average the two ages; do not divide the sum."),
        ("G2", "When counting posts, count the gaps and add one."),
    ]
    assert contradicted(one, others) == []


@given(st.text(max_size=80))
def test_no_text_contradicts_itself_or_breaks_the_checks(text):
    assert contradicted(text, [("G0", text)]) == []
    leaked_answers(text, [text, "12", "Jane Austen"])
    assert isinstance(over_specific(text, [text], [text]), list)


entries = st.dictionaries(st.sampled_from([f"G{i}" for i in range(12)]), st.sampled_from("abc"))


@given(entries, entries)
def test_drift_is_a_share_the_same_both_ways_for_large_libraries_and_zero_without_change(before, after):
    share = drift(before.items(), after.items())
    assert 0 <= share <= 1
    assert drift(before.items(), before.items()) == 0
    if min(len(before), len(after)) >= 4:
        assert share == drift(after.items(), before.items())


def test_a_step_is_flagged_by_what_it_wrote_and_by_how_much_it_changed():
    before = ExperienceLibrary.from_texts([f"When it is {word}, wait." for word in ("wet", "dry", "hot", "cold")])
    operations = [Add(text="When Anna buys a coat, write 1564.", sources=("A0",)), Add(text="When lost, ask.")]
    applied = before.apply(operations, sources={"A0": Source("e0")})
    flags = flags_of(before, applied.library, applied.changes, known_of(TRAINSET), max_drift=0.3)
    assert [(flag.kind, flag.id) for flag in flags] == [
        ("leaked answer", "G4"),
        ("over-specific", "G4"),
        ("drift", None),
    ]
    assert "33%" in flags[-1].why


def test_a_sign_of_harm_to_screen_for_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match='any of `"leaked answer"`'):
        Settings(screen=("leak",))
    with pytest.raises(SettingsError, match='any of `"leaked answer"`'):
        Screen(("leak",))
