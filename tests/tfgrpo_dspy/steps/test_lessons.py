"""Whether a lesson can stand in a library."""

from __future__ import annotations

import pytest

from tfgrpo_dspy.steps.lessons import Drawn, says_what_everybody_does, why_left_out

DRAWN = Drawn(
    "question: Janet has 16 eggs and sells each for $25. She runs 3 sprints of 60 meters. What does she earn?", ("400",)
)

FINE = (
    "When a quantity is half of another one, add both where a total is asked for; do not give the half alone.",
    "When an increase of a percentage is told, take it of the value before the increase.",
    "When late, hurry.",
    "When a, do b.",
    "When the start is given, consider both conditions.",
    "When a process has conditions, compare them.",
    "When rewards differ, compare the outcome of each unit.",
    "When only the start is given, use the units of the outcome.",
)


@pytest.mark.parametrize("text", FINE)
def test_a_lesson_about_a_kind_of_task_stands(text):
    assert why_left_out(text, DRAWN) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("When Janet sells eggs, multiply.", "it speaks of its own task: Janet"),
        ("When there are 16 eggs, multiply them.", "it speaks of its own task: 16"),
        ("When Jim runs 3 sprints of 60 meters, multiply.", "it speaks of its own task: 3, 60"),
        ("When eggs are sold, the answer is 400.", "it speaks of its own task: 400"),
        ("text{Total number of eggs} = 16 + 25", "it speaks of its own task: 16, 25"),
        ("When eggs are sold, multiply the", "it breaks off"),
        (
            "When downloading a file that is too thin, it is better to boil it down without a lid.",
            "it tells of the example in the prompt",
        ),
        (
            "Remember to always double-check your calculations and use the correct formula",
            "it names no particular situation and nothing particular to do",
        ),
    ],
)
def test_a_lesson_is_left_out_with_a_reason_that_can_be_checked(text, why):
    assert why_left_out(text, DRAWN) == why


EMPTY = (
    "When solving word problems with numbers in several steps, it is important to carefully read the question and "
    "understand what is being asked. Then use your knowledge of the given information to reason about the problem and "
    "arrive at the correct answer. It is also important to check your answer to ensure its accuracy.",
    "When solving a problem, check the calculation carefully.",
    "When working on a task, go step by step and verify each of the steps.",
)


@pytest.mark.parametrize("text", EMPTY)
def test_what_everybody_does_anyway_is_known_by_its_words(text):
    assert says_what_everybody_does(text)


@pytest.mark.parametrize("text", FINE)
def test_what_names_a_situation_is_not_taken_for_it(text):
    assert not says_what_everybody_does(text)
