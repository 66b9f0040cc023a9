from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.coverage import AIME_LIKE, measure_difference, measure_mean
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.statistics.estimates import Difference, full_marks, mean_at_k, paired_difference, pass_at_k

unit = st.floats(0, 1, allow_subnormal=False)
rows = st.lists(st.lists(unit, min_size=1, max_size=6), min_size=1, max_size=40)
anything = st.lists(st.lists(st.floats(-1e6, 1e6), max_size=4), min_size=1, max_size=20)
pairs = st.lists(st.tuples(st.lists(unit, max_size=4), st.lists(unit, max_size=4)), min_size=1, max_size=30)


def some(rewards: list[list[float]]) -> list[list[float]]:
    assume(any(rewards))
    return rewards


def test_mean_at_k_is_the_mean_of_question_means_whatever_the_row_lengths() -> None:
    assert mean_at_k([[1, 1, 1, 1], [0], [0.5, 0.1]]).value == pytest.approx((1 + 0 + 0.3) / 3)


def test_a_question_without_rollouts_is_left_out_of_n() -> None:
    assert mean_at_k([[1.0, 0.0], [], [1.0]]).n == 2


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.6])
@pytest.mark.parametrize("k", [1, 32])
def test_equal_questions_leave_an_interval_of_some_width(reward: float, k: int) -> None:
    found = mean_at_k([[reward] * k] * 30)
    assert found.low <= reward <= found.high
    assert 0.05 < found.high - found.low < 0.12


def test_thirty_of_thirty_gives_jeffreys_bound() -> None:
    found = mean_at_k([[1.0]] * 30)
    assert (found.low, found.high) == (pytest.approx(0.9203, abs=1e-4), 1.0)


def test_binary_means_give_jeffreys_interval() -> None:
    from scipy.stats import beta

    found = mean_at_k([[1.0]] * 21 + [[0.0]] * 9)
    assert (found.low, found.high) == pytest.approx(tuple(beta.ppf([0.025, 0.975], 21.5, 9.5)))


def test_more_rollouts_of_the_same_questions_are_no_more_evidence() -> None:
    once = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    assert mean_at_k([row * 50 for row in once]) == mean_at_k(once)


@given(anything)
def test_the_interval_lies_within_the_range_and_holds_the_mean(rewards: list[list[float]]) -> None:
    found = mean_at_k(some(rewards))
    seen = [r for row in rewards for r in row]
    slack = 1e-9 * max(map(abs, [1.0, *seen]))
    assert min([0.0, *seen]) - slack <= found.low <= found.value <= found.high <= max([1.0, *seen]) + slack
    assert found.low < found.high


@given(rows)
def test_a_reversed_scale_gives_the_mirrored_interval(rewards: list[list[float]]) -> None:
    found, mirrored = mean_at_k(rewards), mean_at_k([[1 - r for r in row] for row in rewards])
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-6)


@given(rows, st.floats(0.5, 0.9), st.floats(0.91, 0.999))
def test_a_higher_level_gives_a_wider_interval(rewards: list[list[float]], level: float, higher: float) -> None:
    narrow, wide = mean_at_k(rewards, level=level), mean_at_k(rewards, level=higher)
    assert wide.low <= narrow.low
    assert narrow.high <= wide.high


def test_bounds_set_the_scale_of_the_interval() -> None:
    percent = mean_at_k([[70.0], [100.0], [40.0]], bounds=(0, 100))
    share = mean_at_k([[0.7], [1.0], [0.4]])
    assert (percent.low / 100, percent.high / 100) == pytest.approx((share.low, share.high))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_at_k([]), "no question has a scored rollout"),
        (lambda: mean_at_k([[], []]), "no question has a scored rollout"),
        (lambda: mean_at_k([[1.0], [math.nan]]), "question 1: a reward must be a finite number, got nan"),
        (lambda: mean_at_k([[2.0]], bounds=(0, 1)), r"question 0: reward 2.0 lies outside the bounds \(0, 1\)"),
        (lambda: mean_at_k([[1.0]], bounds=(1, 1)), "lowest < highest"),
        (lambda: mean_at_k([[1.0]], level=95), "between 0 and 1, e.g. 0.95, got 95"),
        (lambda: pass_at_k([[1.0]], 0), "at least 1, got 0"),
        (lambda: pass_at_k([[1.0], [0.0, 1.0]], 3), "3 scored rollouts, the most any has is 2"),
        (lambda: paired_difference([[1.0]], []), "same questions on both sides, got 1 and 0"),
        (lambda: paired_difference([[1.0], []], [[], [1.0]]), "nothing to compare"),
        (lambda: paired_difference([[math.inf]], [[1.0]]), "finite number, got inf"),
    ],
)
def test_what_cannot_be_estimated_is_refused_with_the_reason(call, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.integers(1, 9))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(passed: list[bool], k: int) -> None:
    assume(k <= len(passed))
    share = fmean(any(subset) for subset in combinations(passed, k))
    assert pass_at_k([[float(p) for p in passed]], k).value == pytest.approx(share)


def test_pass_at_k_counts_rewards_from_the_threshold_on() -> None:
    assert pass_at_k([[0.5, 0.4]], 1, threshold=0.5).value == 0.5


@pytest.mark.parametrize(
    ("rewards", "full"),
    [
        ([], 1.0),
        ([0.0, 0.5], 1.0),
        ([1.0], 1.0),
        ([1.5], 1.0),
        ([2.0], 10.0),
        ([1, 5], 10.0),
        ([10.0], 10.0),
        ([30.0, 30.0], 100.0),
        ([0, 85, 100], 100.0),
        ([-1.0, 1.0], None),
        ([-3.0], None),
    ],
)
def test_full_marks_are_those_of_the_scale_on_which_rewards_lie(rewards, full) -> None:
    assert full_marks(rewards) == full


def test_pass_at_k_leaves_out_questions_with_fewer_than_k_rollouts() -> None:
    assert pass_at_k([[1, 0, 0], [1, 1]], 3).n == 1


def test_pass_at_one_is_mean_at_k_for_binary_rewards() -> None:
    rewards = [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    assert pass_at_k(rewards, 1).value == pytest.approx(mean_at_k(rewards).value)


def test_the_difference_is_b_minus_a_over_questions_answered_in_both() -> None:
    found = paired_difference([[0.0], [0.5, 0.5], [1.0]], [[1.0, 0.0], [1.0], []])
    assert (found.value, found.n) == (0.5, 2)


def test_paired_difference_is_the_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    a, b = [0.1, 0.5, 0.9, 0.3, 0.7, 0.2], [0.3, 0.4, 1.0, 0.6, 0.9, 0.2]
    found = paired_difference([[x] for x in a], [[x] for x in b])
    reference = ttest_rel(b, a)
    interval = reference.confidence_interval(0.95)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@given(pairs, st.sampled_from([0.8, 0.95, 0.99]))
def test_p_value_and_interval_agree(questions: list[tuple[list[float], list[float]]], level: float) -> None:
    assume(any(a and b for a, b in questions))
    found = paired_difference([a for a, _ in questions], [b for _, b in questions], level=level)
    assume(abs(found.p_value - (1 - level)) > 1e-9)
    assert (found.p_value < 1 - level) == (found.verdict != "not distinguishable")


@given(pairs)
def test_swapping_the_sides_mirrors_the_difference(questions: list[tuple[list[float], list[float]]]) -> None:
    assume(any(a and b for a, b in questions))
    a, b = [x for x, _ in questions], [y for _, y in questions]
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low), abs=1e-12)
    assert one.p_value == pytest.approx(other.p_value)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, "better"),
        (-0.2, -0.1, "worse"),
        (-0.1, 0.1, "not distinguishable"),
        (0.0, 0.1, "not distinguishable"),
    ],
)
def test_the_verdict_follows_the_interval(low: float, high: float, verdict: str) -> None:
    assert Difference(0.0, low, high, 0.5, 30).verdict == verdict


def test_identical_answers_are_not_distinguishable_and_keep_a_width() -> None:
    found = paired_difference([[1.0]] * 30, [[1.0]] * 30)
    assert (found.value, found.p_value, found.verdict) == (0.0, 1.0, "not distinguishable")
    assert found.low == pytest.approx(-0.1157, abs=1e-4)


@pytest.mark.parametrize(("n", "verdict"), [(1, "not distinguishable"), (5, "not distinguishable"), (6, "better")])
def test_the_same_gain_on_every_question_needs_six_questions(n: int, verdict: str) -> None:
    found = paired_difference([[0.0]] * n, [[1.0]] * n)
    assert found.p_value == pytest.approx(2.0 ** (1 - n))  # the sign test's
    assert found.verdict == verdict


@pytest.mark.parametrize("k", [1, 5, 32])
def test_the_interval_of_the_mean_holds_the_truth_in_about_95_of_100(k: int) -> None:
    assert 0.92 <= measure_mean(AIME_LIKE, (30, k), repeats=800, seed=1).coverage <= 0.98


@pytest.mark.parametrize("k", [1, 5, 32])
@pytest.mark.parametrize("gain", [0.0, 0.03])
def test_the_interval_of_the_difference_holds_the_truth_in_about_95_of_100(k: int, gain: float) -> None:
    found = measure_difference(AIME_LIKE, (30, k), gain, repeats=800, seed=2)
    assert 0.92 <= found.coverage <= 0.98
    assert gain or found.significant <= 0.075
