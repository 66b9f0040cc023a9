"""Effects inside groups: what questions are like cancels, and the interval holds the truth as often as it says."""

from __future__ import annotations

import random
from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.coverage import WORLDS, held_by_effects
from tfgrpo_dspy.statistics.within import Split, within_groups

rewards = st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=4, max_size=4)
groups = st.lists(rewards, min_size=1, max_size=15)
HALVES = (True, False, True, False)


def splits(rows: list[list[float]], has: tuple[bool, ...] = HALVES) -> list[Split]:
    """A question per row."""
    return [Split(f"e{i}", row, has) for i, row in enumerate(rows)]


@given(groups, st.floats(-3, 3))
def test_what_a_question_adds_to_all_its_rewards_changes_nothing(rows, shift):
    moved = [[reward + shift * i for reward in row] for i, row in enumerate(rows)]
    a, b = within_groups(splits(rows), span=1.0), within_groups(splits(moved), span=1.0)
    assert b.value == pytest.approx(a.value, abs=1e-9)
    assert b.error == pytest.approx(a.error, abs=1e-9)


@given(groups)
def test_with_the_sides_exchanged_the_effect_has_the_other_sign(rows):
    a = within_groups(splits(rows))
    b = within_groups(splits(rows, tuple(not has for has in HALVES)))
    assert (b.value, b.low, b.high) == pytest.approx((-a.value, -a.high, -a.low), abs=1e-9)


@given(groups)
def test_the_interval_holds_the_effect_and_stays_within_what_rewards_allow(rows):
    found = within_groups(splits(rows), span=1.0)
    assert -1.0 <= found.low <= found.value <= found.high <= 1.0
    assert (found.questions, found.n_with, found.n_without) == (len(rows), 2 * len(rows), 2 * len(rows))


@given(groups, st.floats(0.1, 10))
def test_only_the_ratios_of_weights_count(rows, factor):
    plain = splits(rows)
    a, b = within_groups(plain), within_groups([s._replace(weight=factor) for s in plain])
    assert b.value == pytest.approx(a.value, abs=1e-9)


def test_groups_with_one_side_tell_nothing():
    one_sided = [Split("e0", [1.0, 0.0], [True, True]), Split("e1", [1.0], [False]), Split("e2", [], [])]
    assert within_groups(one_sided) is None
    assert within_groups([*one_sided, Split("e3", [1.0, 0.0], [True, False])]).questions == 1


def test_a_group_of_no_weight_tells_nothing():
    assert within_groups([Split("e0", [1.0, 0.0], [True, False], 0.0)]) is None


def test_a_group_that_grows_until_rewards_differ_does_not_bend_the_effect():
    rng = random.Random(0)
    found = within_groups([grown(rng, chances=(0.15, 0.35)) for _ in range(20_000)])
    assert found.value == pytest.approx(0.2, abs=0.02)


def grown(rng: random.Random, chances: tuple[float, float]) -> Split:
    """A group of 2 to 6 rollouts that ends, balanced, once its rewards differ."""
    has, made = list[bool](), list[float]()
    while len(made) < 6 and len(set(made)) < 2:
        pair = rng.sample((True, False), 2)
        has += pair
        made += [float(rng.random() < chances[side]) for side in pair]
    return Split(f"e{rng.random()}", made, has)


@pytest.mark.parametrize("kind", ["binary", "graded"])
@pytest.mark.parametrize("world", list(WORLDS))
def test_intervals_of_95_percent_hold_the_truth_in_about_so_many_worlds(world, kind):
    assert held_by_effects(world, 30, kind, repeats=150, seed=1).coverage >= 0.9


def test_the_evidence_of_an_effect_and_against_it_is_told_apart():
    rng = random.Random(1)
    with_effect, without = (
        within_groups(
            [Split(f"e{i}", [float(rng.random() < 0.3 + gain * has) for has in HALVES], HALVES) for i in range(60)]
        )
        for gain in (0.4, 0.0)
    )
    assert with_effect.log_odds(0.3) > log(40)
    assert without.log_odds(0.3) < -log(10)


def test_an_error_from_few_rollouts_is_believed_less():
    found = within_groups(splits([[1.0, 0.0, 1.0, 0.0]] * 12))
    assert 0 < replace(found, freedom=3.0).log_odds(0.5) < replace(found, freedom=300.0).log_odds(0.5)
