"""Lost rollouts: what is called better is so whatever they would have been."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.statistics.estimates import paired_difference
from tfgrpo_dspy.statistics.lost import Side, difference_if_lost, verdict_on

rows = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4), min_size=2, max_size=12)


@given(rows, st.data())
def test_the_difference_lies_between_the_two_ends(made, data):
    counts = st.lists(st.integers(0, 2), min_size=len(made), max_size=len(made))
    a, b = Side(made, data.draw(counts)), Side(made[::-1], data.draw(counts))
    found = difference_if_lost(a, b)
    if found is None:
        assert not any(a.lost)
        assert not any(b.lost)
    else:
        assert found.against.value <= paired_difference(a.rewards, b.rewards).value + 1e-9
        assert found.in_favour.value >= paired_difference(a.rewards, b.rewards).value - 1e-9


def timed_out(rng: random.Random, questions: int = 200, k: int = 3) -> tuple[Side, Side]:
    """No effect, but the candidate loses a fifth of its wrong rollouts."""
    chances = [rng.betavariate(2, 2) for _ in range(questions)]
    a, b = ([[float(rng.random() < p) for _ in range(k)] for p in chances] for _ in range(2))
    kept = [[r for r in row if r or rng.random() > 0.2] for row in b]
    return Side(a, [0] * questions), Side(kept, [k - len(row) for row in kept])


def test_a_candidate_that_only_loses_its_wrong_rollouts_is_not_called_better():
    rng = random.Random(0)
    pairs = [timed_out(rng) for _ in range(60)]
    plain = [paired_difference(a.rewards, b.rewards) for a, b in pairs]
    assert sum(d.verdict == "better" for d in plain) >= 8
    sure = [verdict_on(d, difference_if_lost(a, b)) for d, (a, b) in zip(plain, pairs, strict=True)]
    assert sum(verdict != "not distinguishable" for verdict in sure) <= 1


def test_a_large_gain_survives_a_few_lost_rollouts():
    a, b = Side([[0.0, 0.0]] * 40, [0] * 40), Side([[1.0, 1.0]] * 39 + [[1.0]], [0] * 39 + [1])
    assert verdict_on(paired_difference(a.rewards, b.rewards), difference_if_lost(a, b)) == "better"


def test_with_nothing_lost_the_plain_difference_decides():
    a, b = Side([[0.0]] * 30, [0] * 30), Side([[1.0]] * 30, [0] * 30)
    assert difference_if_lost(a, b) is None
    assert verdict_on(paired_difference(a.rewards, b.rewards), None) == "better"
