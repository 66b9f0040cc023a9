from __future__ import annotations

import random

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.texts import answer_key, content_hash, draw, problem_key


def example(question: str, answer: str = "1", **others: str) -> dspy.Example:
    return dspy.Example(question=question, answer=answer, **others).with_inputs("question")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find $x+1$.", "find  x + 1"),
        ("Compute the number of two-digit primes.", "Compute the number of two digit primes"),
        ("Ｆｉｎｄ（x）", "find (x)"),  # full width  # noqa: RUF001
        ("求 $x$ 的值。", "求x的值"),
        ("What is 3 \u2212 2?", "what is 3-2"),
        ("Find x, please!", "find x please"),
        ("A set, of   \n numbers", "a set of numbers"),
        (r"\(n^2 + n\)", "$n^2+n$"),
    ],
)
def test_spacing_case_width_and_punctuation_do_not_make_another_problem(one, other):
    assert problem_key(one) == problem_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x + 1", "x - 1"),
        ("1.5 m", "15 m"),
        ("1, 2", "12"),
        ("a < b", "a > b"),
        ("求甲", "求乙"),
        ("2/3", "23"),
        ("n! + 1", "n + 1"),
    ],
)
def test_numbers_operators_and_words_make_another_problem(one, other):
    assert problem_key(one) != problem_key(other)


@given(st.text())
def test_a_problem_key_survives_extra_white_space(text):
    assert problem_key(f"  {text}\n") == problem_key(text)


def test_texts_of_nothing_but_punctuation_stay_apart():
    assert problem_key("???") != problem_key("...")


@pytest.mark.parametrize(
    "group",
    [
        ["025", "25", " 25 ", "+25"],
        ["336", r"336^\circ", "336°", r"$336^{\circ}$"],
        ["-7", "\u22127", "-07"],
        ["1,234", "1234", "1{,}234"],
        ["0", "-0", "000"],
    ],
)
def test_integers_are_compared_by_value(group):
    assert len({answer_key(answer) for answer in group}) == 1


@pytest.mark.parametrize(("one", "other"), [("7", "-7"), ("25", "250"), ("(1,234)", "1234"), ("1.5", "15"), ("A", "a")])
def test_other_answers_stay_apart(one, other):
    assert answer_key(one) != answer_key(other)


@given(st.integers())
def test_an_integer_is_its_own_key(number):
    assert answer_key(str(number)) == str(number)


def test_the_hash_sees_neither_order_nor_other_fields_nor_the_spelling_of_integers():
    rows = [example("a?", "025"), example("b\r\n c?", "x")]
    same = [example("b c?", "x", level="hard"), example("a?", "25")]
    assert content_hash(rows) == content_hash(same)


@pytest.mark.parametrize("changed", [example("a!", "1"), example("a?", "2"), example("A?", "1")])
def test_the_hash_sees_every_change_of_a_problem_or_an_answer(changed):
    assert content_hash([example("a?", "1")]) != content_hash([changed])


def test_the_hash_takes_half_a_surrogate_pair_that_json_can_hold():
    assert len(content_hash([example("\ud800")])) == 64
    assert draw([example("\ud800")], 1, 0)


@given(st.integers(0, 30), st.integers(), st.randoms())
def test_a_draw_depends_on_the_seed_and_not_on_the_order(size, seed, order):
    rows = [example(f"q{i}") for i in range(30)]
    drawn = [e.question for e in draw(rows, size, seed)]
    order.shuffle(rows)
    assert [e.question for e in draw(rows, size, seed)] == drawn
    assert len(set(drawn)) == size


def test_draws_of_two_seeds_differ():
    rows = [example(f"q{i}") for i in range(100)]
    assert draw(rows, 10, 0) != draw(rows, 10, 1)
    assert draw(random.Random(0).sample(rows, 100), 10, 0) == draw(rows, 10, 0)
