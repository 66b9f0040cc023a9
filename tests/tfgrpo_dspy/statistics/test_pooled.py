"""Many effects seen together: what they share, and each one shrunken towards it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.statistics.pooled import pooled

values = st.lists(st.floats(-1, 1), min_size=1, max_size=20)


@given(values, st.floats(0.01, 1))
def test_a_shrunken_effect_lies_between_its_plain_value_and_the_mean_of_all(seen, error):
    found = pooled(seen, [error] * len(seen))
    for value in seen:
        low, high = sorted((value, found.mean))
        assert low - 1e-9 <= found.shrunken(value, error) <= high + 1e-9


@given(st.floats(-1, 1), st.floats(0.01, 1))
def test_one_effect_alone_is_its_own_mean(value, error):
    assert pooled([value], [error]).shrunken(value, error) == pytest.approx(value)


def test_equal_effects_seen_through_noise_are_shrunken_to_about_one_value():
    rng = random.Random(0)
    found = pooled([rng.gauss(0.1, 0.2) for _ in range(400)], [0.2] * 400)
    assert abs(found.shrunken(0.6, 0.2) - 0.1) < 0.1


def test_effects_that_truly_differ_are_left_about_as_they_are():
    found = pooled([-0.5, 0.0, 0.5], [0.01] * 3)
    assert found.shrunken(0.5, 0.01) == pytest.approx(0.5, abs=0.01)


def test_the_noisier_estimate_is_moved_further():
    found = pooled([-0.3, 0.0, 0.3, 0.5], [0.1, 0.1, 0.1, 0.3])
    assert found.shrunken(0.5, 0.3) < found.shrunken(0.5, 0.1)
