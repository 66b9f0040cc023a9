"""The bet against "no better": its error rate holds under early looks, and it finds what is there."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.statistics.sequential import evidence_above

differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), max_size=30)


def passes(rng: random.Random, chances: tuple[float, float], *, looks: int = 40, alpha: float = 0.05) -> bool:
    """Whether the evidence reaches 1/alpha at any look, one problem after the other."""
    down, up = chances
    seen: list[float] = []
    for _ in range(looks):
        drawn = rng.random()
        seen.append(-1.0 if drawn < down else 1.0 if drawn < down + up else 0.0)
        if evidence_above(seen) >= 1 / alpha:
            return True
    return False


@pytest.mark.parametrize("chances", [(0.25, 0.25), (0.02, 0.02), (0.5, 0.5)])
def test_looking_after_every_problem_lets_no_more_than_alpha_pass_where_nothing_differs(chances):
    rng = random.Random(0)
    assert sum(passes(rng, chances) for _ in range(400)) <= 0.05 * 400 + 2 * math.sqrt(400 * 0.05 * 0.95)


def test_a_gain_of_a_quarter_is_mostly_found_in_a_hundred_problems():
    rng = random.Random(0)
    assert sum(passes(rng, (0.1, 0.35), looks=100) for _ in range(60)) >= 50


@given(differences)
def test_the_bet_is_fair_on_average_and_never_negative(seen):
    now = evidence_above(seen)
    assert now >= 0
    even = (evidence_above([*seen, 1.0]) + evidence_above([*seen, -1.0])) / 2
    assert even == pytest.approx(now)


@given(differences)
def test_the_order_of_the_problems_does_not_matter(seen):
    assert evidence_above(seen) == pytest.approx(evidence_above(seen[::-1]))


@given(differences)
def test_a_margin_makes_it_easier_to_be_no_worse(seen):
    assert evidence_above(seen, -0.1) >= evidence_above(seen, 0.0) - 1e-9 or sum(seen) > 0


def test_a_difference_beyond_the_reward_range_is_refused():
    with pytest.raises(DataError, match="widen the bounds"):
        evidence_above([3.0])
