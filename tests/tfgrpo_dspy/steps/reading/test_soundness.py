"""Texts that repeat themselves, and texts that stop in the middle, are told from whole ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.steps.reading.soundness import ends_midway, is_babble

LOOP = "When a candidate approaches a problem, it should first consider the candidate. "
VARIED = " ".join(
    f"Step {i}: the candidate then looks at number {i} and adds it to the sum of all numbers before it."
    for i in range(40)
)
WHOLE = [
    "Attempt 1 added both discounts and took 30% off. Attempt 2 took 20% off first, then 10% off what was left, "
    "which is right: the second discount is on the reduced price. So they part at the second step.",
    "First, 16 - 3 = 13 eggs are left. Next, 13 - 4 = 9 eggs are sold. Finally, 9 * 2 = 18 dollars are earned.",
    "for i in range(10):\n    print(i)\nfor j in range(10):\n    print(j)",
    "| a | b |\n|---|---|\n" + "\n".join(f"| {i} | {i * i} |" for i in range(20)),
    "",
    "ok",
]


@pytest.mark.parametrize("times", [4, 7, 30])
@pytest.mark.parametrize("cut", [0, 5, 40])
def test_a_text_that_ends_in_a_loop_is_babble_wherever_it_was_cut(times, cut):
    text = "The attempts differ in one thing. " + LOOP * (times + 2)
    assert is_babble(text[: len(text) - cut])


def test_a_loop_in_a_script_without_blanks_is_babble():
    assert is_babble("首先计算总数。" + "然后检查每一步的计算是否正确。" * 20)


def test_a_long_text_of_one_sentence_in_variations_is_babble():
    assert is_babble(
        " ".join(LOOP.replace("candidate", random.Random(i).choice(["one", "two", "three"])) for i in range(40))
    )


@pytest.mark.parametrize("text", WHOLE)
def test_worked_solutions_tables_and_code_are_not(text):
    assert not is_babble(text)


def test_steps_that_differ_in_their_numbers_are_not():
    assert not is_babble(VARIED)


@given(st.text(max_size=400))
def test_no_text_raises(text):
    is_babble(text)
    ends_midway(text)


@pytest.mark.parametrize(
    "text",
    [
        "When two discounts follow each other, apply the",
        "When a, do b,",
        "When a, convert to",
        "First check the units and",
        "The second one is on (",
        "It has three parts:",
    ],
)
def test_a_sentence_that_stops_before_what_must_follow_ends_midway(text):
    assert ends_midway(text)


@pytest.mark.parametrize(
    "text",
    [
        "When a, do b.",
        "When a, do b",
        "When a rate is given, convert it first",
        "Use x = y/2",
        "When lost, ask for help",
        'When they say "half off", halve the price.',
        "When sums differ, add them up",
        "先乘后加",
        "",
        "Count both ends (a and b)",
    ],
)
def test_whole_sentences_do_not_even_without_their_full_stop(text):
    assert not ends_midway(text)
