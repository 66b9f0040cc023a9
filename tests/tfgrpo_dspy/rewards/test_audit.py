"""A reward that does not follow the verifier, does not vary or pays for length is found out."""

from __future__ import annotations

import random
import re

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.scripted import Engine, examples
from tfgrpo_dspy import DataError, Estimate, evaluate
from tfgrpo_dspy.rewards import Brevity, Weighted, audit_groups, audit_reward, audit_verdicts, cohen_kappa, exact

RNG = random.Random(0)
VERDICTS = [[float(RNG.random() < 0.5) for _ in range(5)] for _ in range(40)]
LENGTHS = [[RNG.randint(10, 200) for _ in range(5)] for _ in range(40)]


def scored(reward):
    """Rewards made of a verdict and a length."""
    return [[reward(v, n) for v, n in zip(*row, strict=True)] for row in zip(VERDICTS, LENGTHS, strict=True)]


def audited(reward):
    return audit_reward(scored(reward), VERDICTS, LENGTHS)


def test_the_verifier_itself_passes():
    found = audited(lambda verdict, length: verdict)
    assert (found.agreement.value, found.length.value, found.flags) == (1.0, 0.0, ())
    assert found.rollouts == 200


@pytest.mark.parametrize(
    ("reward", "flag"),
    [
        (lambda verdict, length: 0.5, "constant: every rollout"),
        (lambda verdict, length: 1 - verdict, "disagrees with the verifier: it follows it on 0%"),
        (lambda verdict, length: random.Random(f"{verdict} {length}").random(), "disagrees with the verifier"),
        (lambda verdict, length: verdict + length / 1000, "pays for length: .* prefers the longer"),
        (lambda verdict, length: verdict - length / 1000, "pays for length: .* prefers the shorter"),
    ],
)
def test_a_reward_that_misleads_is_flagged(reward, flag):
    flags = audited(reward).flags
    assert len(flags) == 1
    assert re.search(flag, flags[0])


def test_a_reward_that_pays_for_length_alone_has_both_flags():
    flags = audited(lambda verdict, length: length).flags
    assert [flag.partition(" ")[0] for flag in flags] == ["disagrees", "pays"]


def test_a_reward_that_differs_between_questions_only_teaches_nothing():
    rewards = [[float(i)] * 5 for i in range(40)]
    assert audit_reward(rewards, VERDICTS, LENGTHS).flags == (
        "constant within every question: no group can teach anything",
    )


def test_length_is_judged_among_equally_right_answers_only():
    verdicts = [[1.0, 1.0, 0.0, 0.0]] * 20  # right answers are longer, and that is no fault of the reward
    lengths = [[100, 110, 10, 20]] * 20
    found = audit_reward(verdicts, verdicts, lengths)
    assert (found.length.value, found.flags) == (0.0, ())


def test_a_few_questions_prove_nothing_and_it_says_so():
    found = audit_reward([[1.0, 0.0], [0.0, 1.0]], [[1, 0], [0, 1]], [[5, 5], [5, 5]])
    assert found.length is None
    assert found.agreement.low <= 0.5
    assert "not shown to follow the verifier" in found.flags[0]
    assert "no pair to judge by" in found.to_text()
    assert "! not shown" in found.to_text()


@pytest.mark.parametrize(
    ("rewards", "verdicts", "lengths"),
    [
        ([[1.0]], [[1.0], [0.0]], [[1]]),
        ([[1.0]], [[1.0, 0.0]], [[1]]),
        ([], [], []),
        ([[]], [[]], [[]]),
        ([[float("nan")]], [[1.0]], [[1]]),
    ],
)
def test_what_does_not_fit_together_is_refused(rewards, verdicts, lengths):
    with pytest.raises(DataError):
        audit_reward(rewards, verdicts, lengths)


ROWS = st.lists(
    st.lists(st.tuples(st.floats(-5, 5), st.sampled_from([0.0, 1.0]), st.integers(0, 9)), max_size=4), min_size=1
)


@given(ROWS.filter(any))
def test_figures_stay_in_their_ranges_and_do_not_depend_on_the_order_of_rollouts(rows):
    columns = [[[rollout[i] for rollout in row] for row in rows] for i in range(3)]
    found = audit_reward(*columns)
    backwards = audit_reward(*([row[::-1] for row in column] for column in columns))
    assert found.agreement is None or 0 <= found.agreement.low <= found.agreement.value <= found.agreement.high <= 1
    assert found.length is None or -1 <= found.length.low <= found.length.value <= found.length.high <= 1
    assert found == backwards


def test_rollouts_scored_by_a_composite_reward_can_be_audited():
    program = dspy.Predict("question -> answer")
    lm = Engine(lambda asked: {"answer": "1" if asked.draw().random() < 0.5 else "a long way off"}).lm()
    with dspy.context(lm=lm):
        reward = Weighted({"accuracy": (exact, 1.0), "brevity": (Brevity(words=0, limit=9), 0.2)})
        groups = evaluate(program, examples(12), reward, k=4, seed=0).groups
        bare = evaluate(program, examples(2), exact, k=2, seed=0).groups
    assert audit_groups(groups).agreement.value == 1.0
    with pytest.raises(DataError, match="no rollout has a part 'accuracy'"):
        audit_groups(bare)


def test_kappa_is_cohen_s():
    # Two raters, 50 items: 20 both yes, 15 both no, 5 and 10 apart: agreement 0.7, chance 0.5.
    found = cohen_kappa(Estimate(0.7, 0.6, 0.8, 50), labels=25 / 50, verdicts=30 / 50)
    assert (found.value, found.low, found.high) == (pytest.approx(0.4), pytest.approx(0.2), pytest.approx(0.6))
    assert cohen_kappa(Estimate(1.0, 0.9, 1.0, 50), 1.0, 1.0) is None


@given(st.lists(st.tuples(st.booleans(), st.lists(st.booleans(), min_size=1, max_size=4)), min_size=1, max_size=12))
def test_figures_stay_in_their_ranges(answers):
    found = audit_verdicts([label for label, _ in answers], [row for _, row in answers], 4)
    assert 0 <= found.agreement.low <= found.agreement.value <= found.agreement.high <= 1
    assert found.kappa is None or -1 <= found.kappa.low <= found.kappa.value <= found.kappa.high <= 1
    assert found.to_text().count("\n") == 6


def test_without_a_verdict_there_is_nothing_to_say():
    with pytest.raises(DataError, match="no verdict could be had"):
        audit_verdicts([True], [()], 1)
