from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import dspy
import pytest
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.rewards.metrics import BUILT_IN, exact, number, parse_number


def judged(metric: Any, expected: object, given: object) -> dspy.Prediction:
    example = dspy.Example(question="?", answer=expected).with_inputs("question")
    return metric(example, dspy.Prediction(answer=given))


def value(text: str) -> Fraction | None:
    found = parse_number(text)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", 42),
        ("the answer is 18.", 18),
        ("first 3, then 7", 7),
        ("025", 25),
        ("1,234,567.5", Fraction(2469135, 2)),
        ("1,23", 23),
        ("-0.5", Fraction(-1, 2)),
        (".25", Fraction(1, 4)),
        ("−7", -7),
        ("x=-7", -7),
        ("3-4", 4),
        ("16 - 3", 3),
        ("$5.20", Fraction(26, 5)),
        ("-$5", -5),
        ("$-5$", -5),
        ("€3", 3),
        ("3/4", Fraction(3, 4)),
        ("1 1/2", Fraction(3, 2)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\dfrac{3}{4}", Fraction(-3, 4)),
        (r"1\frac12", Fraction(3, 2)),
        ("1.5e3", 1500),
        (r"2 \times 10^{4}", 20000),
        ("10^6", 1000000),
        (r"12{,}345", 12345),
        ("12\u202f345", 12345),
        ("25 cm^2", 25),
        (r"336^\circ", 336),
        ("2 + 2 = 4\n#### 1,004\nnote 5", 1004),
        (r"so \boxed{42}, not 3", 42),
        (r"\boxed{\frac{1}{2}}", Fraction(1, 2)),
        (r"\boxed{1} or rather \boxed{2", 2),
        ("答案是25。", 25),
        ("none", None),
        ("", None),
        ("1/0", None),
        (r"\boxed{x}", None),
        ("9" * 400, None),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, expected: Fraction | int | None) -> None:
    assert value(text) == expected


@given(st.integers())
def test_every_integer_is_read_plain_grouped_and_boxed(n: int) -> None:
    assert value(str(n)) == value(f"{n:,}") == value(rf"so \boxed{{{n}}} it is") == value(f"#### {n}") == n


@given(st.fractions(min_value=0, max_value=10**6))
def test_every_fraction_is_read(fraction: Fraction) -> None:
    above, below = fraction.numerator, fraction.denominator
    assert value(f"{above}/{below}") == value(rf"\frac{{{above}}}{{{below}}}") == fraction


@given(st.text())
@case("1" * 100_000 + " ")
@case("1," * 50_000)
@case(r"\frac{" * 10_000)
@case("{" * 100_000)
def test_any_text_can_be_judged(text: str) -> None:
    assert judged(number, "7", text).score in (0.0, 1.0)
    assert judged(exact, "7", text).score in (0.0, 1.0)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("025", "25"),
        (25, "25.0"),
        ("18", r"She earns $18 a day: \boxed{18}"),
        ("9 * 2 = 18\n#### 18", "18 dollars"),
        ("0.3333333", "1/3"),
        ("3/4", "0.75"),
        ("50%", "0.5"),
        ("50", "50%"),
        ("0.5", "50%"),
        ("50%", "50"),
        ("0", "0.0"),
        ("-3", "The sum is -3"),
        (r"336^\circ", "336"),
    ],
)
def test_right_numbers_score_one(expected: object, given: object) -> None:
    assert judged(number, expected, given).score == 1.0


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("25", "26"),
        ("1000000", "1000001"),
        ("0.5", "0.50001"),
        ("0", "0.0000001"),
        ("3", "-3"),
        ("50%", "5%"),
        ("0.5", "0.6%"),
        ("7", None),
        ("7", "seven"),
    ],
)
def test_wrong_numbers_score_zero(expected: object, given: object) -> None:
    assert judged(number, expected, given).score == 0.0


@given(st.integers(-(10**15), 10**15))
def test_gold_scores_one_and_its_neighbour_zero_from_a_thread_too(n: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(judged, number, str(n), f"It is {n}.").result().score == 1.0
        assert pool.submit(judged, number, str(n), f"It is {n + 1}.").result().score == 0.0


def test_number_says_what_was_expected_and_what_came() -> None:
    assert judged(number, "#### 18", "It is 17").feedback == "Wrong: expected 18, got 17."
    assert judged(number, "18", "no idea").feedback == "Wrong: expected 18, but there is no number in 'no idea'."
    assert judged(number, "018", "18").feedback == "Correct: 018."


@pytest.mark.parametrize(
    "expected", ["Paris", r"3\sqrt{13}", "2516_8", "(3, 4)", r"\frac{\pi}{2}", "6 - 5i and 2", True]
)
def test_an_expected_answer_that_is_no_plain_number_is_an_error(expected: object) -> None:
    with pytest.raises(MetricError, match="is no plain number; use the metric `exact`"):
        judged(number, expected, "3")


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("Paris", " paris. "),
        ("New  York", "new york"),
        ('"Yes"', "yes"),
        ("ﬁve", "five"),
        (4, "4"),
        ("Größe", "GRÖSSE"),
    ],
)
def test_exact_passes_over_case_blanks_quotes_and_a_full_stop(expected: object, given: object) -> None:
    assert judged(exact, expected, given).score == 1.0


@pytest.mark.parametrize(("expected", "given"), [("Paris", "Paris, France"), ("Paris", None), ("a-b", "a b")])
def test_exact_scores_other_words_zero(expected: object, given: object) -> None:
    assert judged(exact, expected, given).score == 0.0


def test_exact_shows_both_and_shortens_long_answers() -> None:
    feedback = judged(exact, "Paris", "x" * 1000).feedback
    assert feedback.startswith("Wrong: expected 'Paris', got 'xxx")
    assert len(feedback) < 300


@given(st.text())
def test_exact_accepts_the_expected_text_itself(text: str) -> None:
    assert judged(exact, text, text).score == 1.0


def test_the_only_label_is_the_expected_answer_whatever_its_name() -> None:
    example = dspy.Example(task="?", capital="Paris").with_inputs("task")
    assert exact(example, dspy.Prediction(capital="Paris", answer="Rome")).score == 1.0


def test_among_several_labels_it_is_answer() -> None:
    example = dspy.Example(task="?", answer="Paris", source="atlas").with_inputs("task")
    assert exact(example, dspy.Prediction(answer="Paris")).score == 1.0


@pytest.mark.parametrize("metric", BUILT_IN.values(), ids=BUILT_IN)
def test_a_missing_label_or_output_is_an_error_that_says_what_exists(metric: Any) -> None:
    unlabelled = dspy.Example(task="?").with_inputs("task")
    with pytest.raises(MetricError, match="no label `answer` to compare with, it has no label"):
        metric(unlabelled, dspy.Prediction(answer="1"))
    several = dspy.Example(task="?", a="1", b="2").with_inputs("task")
    with pytest.raises(MetricError, match="its labels are a, b"):
        metric(several, dspy.Prediction(answer="1"))
    labelled = dspy.Example(task="?", answer="1").with_inputs("task")
    with pytest.raises(MetricError, match="returned result, but the expected answer is called 'answer'"):
        metric(labelled, dspy.Prediction(result="1"))
