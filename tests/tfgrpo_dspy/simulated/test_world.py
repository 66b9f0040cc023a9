from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.simulated.families import FAMILIES, show
from tfgrpo_dspy.simulated.world import answers_match, demo_examples, make_problems, recognise

SEEDS = st.integers(0, 10_000)
SPLITS = st.sampled_from(["train", "test"])


def test_there_are_at_least_twelve_families_with_four_phrasings_each():
    assert len(FAMILIES) >= 12
    assert all(len(family.phrasings) >= 4 for family in FAMILIES)
    assert all(1 <= len(family.forks) <= 2 for family in FAMILIES)


@given(seed=SEEDS, split=SPLITS)
def test_every_problem_can_be_read_back_and_solved_to_its_answer(seed, split):
    for problem in make_problems(16, seed, split):
        family, numbers = recognise(problem.question)
        assert family.name == problem.family
        assert show(family.solve(numbers, frozenset()).answer) == problem.answer


@given(seed=SEEDS, split=SPLITS)
def test_no_way_of_going_wrong_arrives_at_the_answer(seed, split):
    for problem in make_problems(16, seed, split):
        family, numbers = recognise(problem.question)
        names = [fork.name for fork in family.forks]
        for fell in [*({name} for name in names), set(names)]:
            wrong = family.solve(numbers, frozenset(fell)).answer
            assert not answers_match(problem.answer, show(wrong))


@given(seed=SEEDS, split=SPLITS)
def test_a_calculation_is_shown_for_every_fork(seed, split):
    for problem in make_problems(16, seed, split):
        family, numbers = recognise(problem.question)
        assert len(family.solve(numbers, frozenset()).calculations) == len(family.forks)


def test_train_and_test_share_no_question():
    train = {p.question for seed in range(3) for p in make_problems(400, seed, "train")}
    test = {p.question for seed in range(3) for p in make_problems(400, seed, "test")}
    assert not train & test


def test_a_list_holds_no_question_twice_and_is_balanced_over_families():
    problems = make_problems(170, 3)
    counts = Counter(problem.family for problem in problems)
    assert len({problem.question for problem in problems}) == 170
    assert set(counts) == {family.name for family in FAMILIES}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_same_seed_gives_the_same_problems_and_another_seed_others():
    assert make_problems(20, 1) == make_problems(20, 1)
    assert make_problems(20, 1) != make_problems(20, 2)
    assert make_problems(0, 1) == []


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'train' or 'test', got 'dev'"):
        make_problems(1, 0, "dev")


def test_a_question_is_recognised_inside_a_longer_text_with_other_line_breaks():
    problem = make_problems(1, 5)[0]
    text = "Please solve this.\n" + problem.question.replace(" ", "\n", 3) + "\nGive a number."
    assert recognise(text)[0].name == problem.family


@pytest.mark.parametrize(
    "text",
    ["", "What is the capital of France?", "Natalia sold clips to 48 friends in April and half as many in May."],
)
def test_foreign_texts_are_not_recognised(text):
    assert recognise(text) is None


def test_large_numbers_may_be_written_with_commas():
    family, numbers = recognise(
        "The price of a lamp is $1,200. It rises by 10% and later falls by 20%. What does the lamp cost then?"
    )
    assert numbers == {"p": 1200, "u": 10, "d": 20}
    assert family.solve(numbers, frozenset()).answer == 1056


def test_demo_examples_have_the_question_as_their_input():
    example = demo_examples(3, 0, "test")[0]
    assert set(example.inputs().keys()) == {"question"}
    assert set(example.labels().keys()) == {"answer"}


@pytest.mark.parametrize(
    ("expected", "given_answer", "same"),
    [
        ("264", "264", True),
        ("264", "The price is $264.00.", True),
        ("1200", "1,200", True),
        (9.6, "9.60", True),
        ("264", "256", False),
        ("264", "unknown", False),
        ("264", None, False),
    ],
)
def test_answers_match_by_their_last_number(expected, given_answer, same):
    assert answers_match(expected, given_answer) is same


@given(st.fractions(min_value=0, max_value=10_000, max_denominator=100))
def test_a_shown_number_is_within_half_a_hundredth(value):
    assert abs(Fraction(show(value)) - value) <= Fraction(1, 200)
