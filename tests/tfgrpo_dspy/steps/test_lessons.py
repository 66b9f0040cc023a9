"""Whether a lesson can stand in a library."""

from __future__ import annotations

import pytest

from tfgrpo_dspy.steps.lessons import Drawn, says_what_everybody_does, why_left_out

DRAWN = Drawn(
    "question: Janet has 16 eggs and sells each for $25. She runs 3 sprints of 60 meters. What does she earn?", ("540",)
)


def unseen(words):
    return f'it speaks of what its reader has not seen: "{words}"'


FINE = (
    "When a quantity is half of another one, add both where a total is asked for; do not give the half alone.",
    "When an increase of a percentage is told, take it of the value before the increase.",
    "When late, hurry.",
    "When a, do b.",
    "When the start is given, consider both conditions.",
    "When a process has conditions, compare them.",
    "When rewards differ, compare the outcome of each unit.",
    "When only the start is given, use the units of the outcome.",
    "When the first attempt to open a page fails, wait and try again; give up after 3 attempts.",
    "When a reward is promised for each sale, multiply it by the number of sales.",
    "When the entry of a ledger has no date, take that of the line above.",
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
        ("When eggs are sold, the answer is 540.", "it speaks of its own task: 540"),
        ("text{Total number of eggs} = 16 + 25", "it speaks of its own task: 16, 25"),
        ("When eggs are multiplied, 540 comes out.", "it speaks of its own task: 540"),
        ("When eggs are sold, multiply the", "it breaks off"),
        ("When it is asked what is left, as in attempts 1, 3, subtract.", unseen("attempts 1")),
        ("When unsure which to sell, do as the best attempt did.", unseen("best attempt")),
        ("One lesson to learn from these attempts is to subtract what is eaten.", unseen("these attempts")),
        ("When eggs are sold by the dozen, divide first, which earns a reward of 1.", unseen("reward of 1")),
        ("The lesson provides examples of how eggs are sold.", unseen("The lesson provides")),
        ("The present entries tell readers how eggs are sold.", unseen("The present entries tell")),
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
    "To solve word problems with numbers, it is important to carefully read the question and understand what is being "
    "asked before starting to solve it. It is also crucial to pay close attention to the instructions and to verify "
    "the answers using the correct formula.",
    "When working on a task, go step by step and verify each of the steps.",
)


@pytest.mark.parametrize("text", EMPTY)
def test_what_everybody_does_anyway_is_known_by_its_words(text):
    assert says_what_everybody_does(text)


@pytest.mark.parametrize("text", FINE)
def test_what_names_a_situation_is_not_taken_for_it(text):
    assert not says_what_everybody_does(text)
