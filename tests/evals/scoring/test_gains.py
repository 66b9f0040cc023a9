"""Statistics of a whole table."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.scoring.gains import (
    POWER,
    gains_over_seeds,
    holm,
    mean_over_seeds,
    pass_over_seeds,
    questions_needed,
    winner,
)
from tfgrpo_dspy import DataError
from tfgrpo_dspy.statistics.estimates import paired_difference

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)
rewards = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2), min_size=5, max_size=5)
seeds = st.lists(rewards, min_size=1, max_size=3)


def drawn(chance: float, *, seeds: int = 3, n: int = 30, k: int = 5, seed: int = 0) -> list[list[list[float]]]:
    rng = np.random.default_rng(seed)
    return [(rng.random((n, k)) < chance).astype(float).tolist() for _ in range(seeds)]


# Gains


def gain_over_seeds(baseline, candidate):
    (gain,) = gains_over_seeds([(baseline, candidate)])
    return gain


def test_with_one_seed_the_gain_is_the_paired_difference_of_the_library():
    a, b = drawn(0.4, seeds=1), drawn(0.6, seeds=1, seed=1)
    assert gain_over_seeds(a, b).difference == paired_difference(a[0], b[0])


def test_a_gain_is_the_mean_over_seeds_and_tells_each_of_them():
    gain = gain_over_seeds([[[0.0], [0.0]], [[0.0], [1.0]]], [[[1.0], [1.0]], [[0.0], [1.0]]])
    assert gain.by_seed == (1.0, 0.0)
    assert gain.difference.value == 0.5
    assert (gain.seeds, gain.difference.n) == (2, 2)


def test_seeds_that_disagree_widen_the_interval():
    steady = gain_over_seeds(drawn(0.3), drawn(0.6, seed=1))
    moody = [*drawn(0.3, seeds=1, seed=2), *drawn(0.6, seeds=1, seed=3), *drawn(0.9, seeds=1, seed=4)]
    found = gain_over_seeds(drawn(0.3), moody)
    assert found.difference.high - found.difference.low > 2 * (steady.difference.high - steady.difference.low)
    assert found.difference.verdict == "not distinguishable"
    assert steady.difference.verdict == "better"


def test_what_seeds_add_is_estimated_from_all_optimizers_together():
    baseline = drawn(0.3)
    moody = [[drawn(chance, seeds=1, seed=seed)[0] for chance in (0.4, 0.5, 0.65)] for seed in range(2, 7)]
    alone = gain_over_seeds(baseline, moody[0]).difference
    together = gains_over_seeds([(baseline, one) for one in moody])[0].difference
    assert together.value == alone.value
    assert together.high - together.low < alone.high - alone.low


def test_seeds_that_disagree_are_no_steadier_beside_steady_optimizers():
    moody = [*drawn(0.2, seeds=1, seed=2), *drawn(0.7, seeds=1, seed=3), *drawn(0.9, seeds=1, seed=4)]
    steady = [(drawn(0.3), drawn(0.6, seed=seed)) for seed in range(5, 11)]
    first, *others = (gain.difference for gain in gains_over_seeds([(drawn(0.3), moody), *steady]))
    assert first.verdict == "not distinguishable"
    assert {gain.verdict for gain in others} == {"better"}


def test_a_question_lost_under_one_seed_is_left_out_of_all():
    a = [[[1.0], [0.0], [0.0]], [[0.0], [], [0.0]]]
    b = [[[1.0], [1.0], [1.0]], [[1.0], [1.0], [0.0]]]
    assert gain_over_seeds(a, b).difference.n == 2


def test_differences_without_spread_have_an_interval_and_nothing_detectable():
    gain = gain_over_seeds([[[0.0]] * 10] * 2, [[[1.0]] * 10] * 2)
    assert gain.detectable is None
    assert 0 < gain.difference.low < 1 == gain.difference.value


def test_a_detectable_gain_is_found_as_often_as_it_says():
    rng, n = np.random.default_rng(1), 30
    table = [[[value] for value in rng.normal(0.5, 0.1, n)], [[value] for value in rng.normal(0.5, 0.1, n)]]
    detectable = gain_over_seeds([table[0]], [table[1]]).detectable
    assert detectable is not None
    spread = np.std([b[0] - a[0] for a, b in zip(*table, strict=True)], ddof=1)
    found = 0
    for _ in range(400):
        a = [[0.0]] * n
        b = [[value] for value in rng.normal(detectable, spread, n)]
        found += gain_over_seeds([a], [b]).difference.p_value < 0.05
    assert abs(found / 400 - POWER) < 0.08


@pytest.mark.parametrize(
    ("baseline", "candidate"),
    [([[[1.0]]], [[[1.0]], [[1.0]]]), ([[[1.0]]], [[[1.0], [1.0]]]), ([[[]]], [[[1.0]]]), ([], [])],
)
def test_what_does_not_match_is_refused(baseline, candidate):
    with pytest.raises(DataError):
        gain_over_seeds(baseline, candidate)


@given(seeds)
def test_the_same_against_itself_is_never_better_nor_worse(table):
    gain = gain_over_seeds(table, table)
    assert gain.difference.value == 0
    assert gain.difference.verdict == "not distinguishable"


@given(st.integers(1, 3).flatmap(lambda n: st.tuples(*[st.lists(rewards, min_size=n, max_size=n)] * 2)))
def test_turned_round_a_gain_is_a_loss(pair):
    there, back = gain_over_seeds(*pair).difference, gain_over_seeds(*pair[::-1]).difference
    assert there.value == pytest.approx(-back.value)
    assert there.low == pytest.approx(-back.high)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.low - 1e-9 <= there.value <= there.high + 1e-9


# Scores


def test_the_mean_over_seeds_counts_questions_and_not_rollouts():
    estimate = mean_over_seeds(drawn(0.5, seeds=3))
    assert estimate.n == 30


def test_pass_at_k_never_mixes_the_programs_of_two_seeds():
    solves_by_chance = [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]
    estimate = pass_over_seeds(solves_by_chance, 2)
    assert estimate is not None
    assert estimate.value == 0.5
    assert pass_over_seeds(solves_by_chance, 3) is None


# Several comparisons


@given(p_values)
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values):
    adjusted = holm(values)
    assert all(0 <= p <= a <= 1 for p, a in zip(values, adjusted, strict=True))
    in_order = [a for _, a in sorted(zip(values, adjusted, strict=True))]
    assert all(a <= b for a, b in pairwise(in_order))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_the_winner_is_the_highest_and_the_earlier_of_equals():
    assert winner({"a": 0.2, "b": 0.5, "c": 0.5}) == "b"
    assert winner({}) is None


def test_half_the_gain_needs_four_times_the_questions():
    assert questions_needed(0.05, 0.1, 30) == 120
    with pytest.raises(DataError):
        questions_needed(0.0, 0.1, 30)
