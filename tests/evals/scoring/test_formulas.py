"""The statistics beside those of other packages: SciPy's, statsmodels' and evalstats'."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from scipy import stats

from evals.scoring.gains import gains_over_seeds, holm, holm_levels
from tfgrpo_dspy.statistics import mean_at_k, paired_difference, pass_at_k

A = [0.1, 0.5, 0.9, 0.3, 0.7, 0.2, 0.4, 0.8]
B = [0.3, 0.4, 1.0, 0.6, 0.9, 0.2, 0.7, 0.9]


def single(values: list[float]) -> list[list[float]]:
    return [[value] for value in values]


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_a_gain_of_one_seed_is_scipys_paired_t_test(level: float) -> None:
    [gain] = gains_over_seeds([([single(A)], [single(B)])], level=level)
    reference = stats.ttest_rel(B, A)
    interval = reference.confidence_interval(level)
    assert gain.difference.p_value == pytest.approx(reference.pvalue)
    assert (gain.difference.low, gain.difference.high) == pytest.approx((interval.low, interval.high))


def test_what_could_be_seen_is_seen_as_often_as_it_says() -> None:
    import numpy as np

    [gain] = gains_over_seeds([([single(A)], [single(B)])])
    spread = stats.tstd([b - a for a, b in zip(A, B, strict=True)])
    drawn = np.random.default_rng(0).normal(gain.detectable, spread, (2000, len(A)))
    assert np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("passed", range(6))
def test_pass_at_k_is_the_hypergeometric_chance_of_at_least_one(passed: int) -> None:
    rewards = [[1.0] * passed + [0.0] * (5 - passed)]
    for k in (1, 2, 3, 5):
        assert pass_at_k(rewards, k).value == pytest.approx(1 - stats.hypergeom(5, passed, k).pmf(0))


@pytest.mark.parametrize("seed", range(5))
def test_the_corrected_interval_leaves_out_zero_exactly_where_holm_is_significant(seed: int) -> None:
    rng = random.Random(seed)
    base = [rng.random() for _ in range(12)]
    pairs = [
        ([single(base)], [single([min(1, max(0, x + rng.gauss(shift, 0.15))) for x in base])])
        for shift in (0.0, 0.05, 0.1, 0.15, 0.3, -0.1)
    ]
    p_values = [gain.difference.p_value for gain in gains_over_seeds(pairs)]
    shown = gains_over_seeds(pairs, levels=holm_levels(p_values))
    for adjusted, gain in zip(holm(p_values), shown, strict=True):
        assert (adjusted < 0.05) == (gain.difference.verdict != "not distinguishable")
    assert min(holm_levels(p_values)) >= 0.95
    assert holm_levels([0.01]) == [0.95]


def test_a_gain_that_no_reward_allows_is_not_said_to_be_what_could_be_seen() -> None:
    base, better = [single([0.0, 0.0])] * 2, [single([1.0, 0.9]), single([0.1, 0.0])]
    [gain] = gains_over_seeds([(base, better)])
    assert gain.detectable is None
    assert gain.is_blind


@pytest.mark.parametrize("n", [10, 30, 100])
@pytest.mark.parametrize(("mean", "spread"), [(0.5, 0.05), (0.5, 0.2), (0.02, 0.005), (0.97, 0.01)])
def test_the_interval_of_graded_rewards_is_about_as_wide_as_students(n: int, mean: float, spread: float) -> None:
    rng = random.Random(n)
    values = [rng.gauss(mean, spread) for _ in range(n)]
    found = mean_at_k(single([min(1.0, max(0.0, value)) for value in values]))
    low, high = stats.t.interval(0.95, n - 1, fmean(values), stats.sem(values))
    assert 0.85 <= (found.high - found.low) / (high - low) <= 1.5


@pytest.mark.parametrize("n", [10, 30])
def test_the_interval_of_graded_rewards_holds_the_truth_in_about_95_of_100(n: int) -> None:
    rng, held = random.Random(1), []
    for _ in range(800):
        found = mean_at_k(single([rng.betavariate(12, 4) for _ in range(n)]))
        held.append(found.low <= 0.75 <= found.high)
    assert 0.93 <= fmean(held) <= 0.985


@pytest.mark.slow
def test_evalstats_and_statsmodels_come_to_the_same_figures() -> None:
    bayes, paired = pytest.importorskip("evalstats.core.bayes_evals"), pytest.importorskip("evalstats.core.paired")
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    right = [1.0] * 21 + [0.0] * 9
    jeffreys = bayes.independent_intervals(pandas.DataFrame({"x": right}), alpha=0.05, prior=(0.5, 0.5))["x"]
    found = mean_at_k(single(right))
    assert (found.low, found.high) == pytest.approx((jeffreys["lower"], jeffreys["upper"]))
    theirs = paired.pairwise_differences(numpy.array([B, A]), 0, 1, method="t_interval")
    ours = paired_difference(single(A), single(B))
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.point_diff, theirs.ci_low, theirs.ci_high))
    assert ours.p_value == pytest.approx(theirs.p_value, abs=1e-6)
    p_values = [0.01, 0.04, 0.03, 0.2, 0.0004]
    assert holm(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1])
