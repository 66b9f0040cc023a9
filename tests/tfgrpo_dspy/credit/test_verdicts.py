"""What may be said of an experience: helps, hurts, does nothing, or not yet."""

from __future__ import annotations

import pytest

from tfgrpo_dspy.credit.verdicts import OVERALL, WHERE, verdict_of
from tfgrpo_dspy.statistics.within import Within


def found(value: float, error: float) -> Within:
    """An estimate, in standard deviations of the rewards of a question."""
    return Within(value, value - 2 * error, value + 2 * error, error, 1000, 30, 75, 75)


@pytest.mark.parametrize(
    ("where", "overall", "verdict"),
    [
        ((WHERE, 0.15), (0.0, 0.05), "helps"),
        ((-WHERE, 0.15), (0.0, 0.05), "hurts"),
        ((0.0, 0.15), (0.0, 0.05), "does nothing"),
        ((-0.2, 0.15), (0.0, 0.05), "does nothing"),
        ((0.0, 0.5), (0.0, 0.05), "undecided"),  # too little was seen where it applies
        ((0.0, 0.15), (0.0, 0.5), "undecided"),  # and too little elsewhere: it may help a little everywhere
        ((0.0, 0.15), (OVERALL, 0.05), "helps"),
        ((0.0, 0.15), (-OVERALL, 0.05), "hurts"),
    ],
)
def test_what_the_evidence_allows_to_say(where, overall, verdict):
    assert verdict_of(found(*where), found(*overall), 1.0, prior=0.0) == verdict


@pytest.mark.parametrize(("where", "verdict"), [(0.2, "does nothing"), (0.4, "undecided")])
def test_a_general_entry_does_nothing_if_it_does_not_overall_and_nothing_speaks_for_it_where_it_was_learned(
    where, verdict
):
    assert verdict_of(found(where, 0.25), found(0.0, 0.05), 1.0) == verdict


def test_sizes_are_measured_by_the_spread_of_rewards():
    where, overall = found(0.0, 0.15), found(0.0, 0.05)
    assert verdict_of(where, overall, 0.1, prior=0.0) == "undecided"


@pytest.mark.parametrize(("where", "spread"), [(None, 1.0), (found(1.0, 0.1), 0.0)])
def test_without_a_measurement_nothing_is_said(where, spread):
    assert verdict_of(where, found(1.0, 0.1), spread) == "undecided"
