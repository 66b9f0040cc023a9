"""What gives a training problem away: what is flagged, and above all what is not."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy import Add, ExperienceLibrary, Source
from tfgrpo_dspy.gates.flags import flags_of, known_of
from tfgrpo_dspy.library.leaks import Known, leaked_answers, own_words

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
    assert Known.of(["a", "b", "c"], [["Sports News"], ["Sports News"], ["Jane Austen"]]).answers == ("Jane Austen",)


def test_names_and_numbers_of_the_problem_it_was_drawn_from_are_found_and_general_ones_are_not():
    found = own_words("When Anna buys for 1840 at 15% off, multiply by 0.85.", [PRICE], [PRICE])
    assert found == ["1840", "15", "Anna"]
    assert own_words("When Anna buys, divide by 100.", [PRICE], [PRICE, "Anna sings."]) == []
    assert own_words("When a price is cut, take the share that remains.", [PRICE], [PRICE]) == []
    assert own_words("Always read Miller twice.", [], [PRICE]) == []


def test_the_numbers_of_a_lists_points_are_none_of_the_problem():
    task = "Tim runs 3 sprints of 40 metres, 2 times a day. How far does he run in 4 days?"
    for text in (
        "Do this: 1. Read. 2. Plan. 3. Add up. 4. Check.",
        "(1) read, (2) plan\n3) add up",
        "1. Read.\n2. Plan.",
    ):
        assert own_words(text, [task], [task]) == []
    assert own_words("He runs 3. Then 2. So 3 sprints.", [task], [task]) == ["3", "2"]
    assert own_words("First: 1. Read that he runs 3 times 2 sprints.", [task], [task]) == ["3", "2"]


def test_six_words_in_a_row_of_a_problem_are_the_problem_told_again_unless_others_have_them_too():
    candle = "A candle melts by some centimeters every hour that it burns. How short is it then?"
    told = "When a candle melts by some centimeters every hour, multiply."
    assert own_words(told, [candle], [candle]) == ["a candle melts by some centimeters"]
    assert (
        own_words(told, [candle], [candle, "How does it come that a candle melts by some centimeters every hour?"])
        == []
    )
    assert own_words("When a candle melts, multiply by the hours that it burns.", [candle], [candle]) == []


@given(st.text(max_size=80))
def test_no_text_breaks_the_checks(text):
    leaked_answers(text, [text, "12", "Jane Austen"])
    assert isinstance(own_words(text, [text], [text]), list)


def test_what_a_step_wrote_is_flagged():
    before = ExperienceLibrary.from_texts([f"When it is {word}, wait." for word in ("wet", "dry", "hot", "cold")])
    operations = [Add(text="When Anna buys a coat, write 1564.", sources=("A0",)), Add(text="When lost, ask.")]
    changes = before.apply(operations, sources={"A0": Source("e0")}).changes
    flags = flags_of(changes, known_of(TRAINSET))
    assert [(flag.kind, flag.id) for flag in flags] == [("leaked answer", "G4"), ("own words", "G4")]
