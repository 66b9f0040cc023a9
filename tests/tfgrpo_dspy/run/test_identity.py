"""What decides the outcome of a run: a metric is told apart by what it is made of, in any process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import examples
from tfgrpo_dspy import MajorityVote, SelfDiscrimination, Settings
from tfgrpo_dspy.rewards.metrics import exact, number
from tfgrpo_dspy.run.identity import identity_of


@dataclass(frozen=True)
class Mixed:
    """A composite metric."""

    parts: Any
    weight: float = 1.0

    def __call__(self, example, prediction, trace=None):
        return self.weight


def metric_of(metric) -> str:
    return identity_of(Settings(), dspy.Predict("question -> answer"), metric, examples(1), None, {})["metric"]


def same(one: str, other: str) -> bool:
    return one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (exact, number),
        (MajorityVote(), SelfDiscrimination()),
        (MajorityVote(), MajorityVote(field="city")),
        (MajorityVote(), MajorityVote(equivalent=same)),
        (SelfDiscrimination(lm=dspy.LM("a/b")), SelfDiscrimination(lm=dspy.LM("a/c"))),
        (Mixed({"a": (exact, 1.0)}), Mixed({"a": (exact, 2.0)})),
        (Mixed({"a": (exact, 1.0)}), Mixed({"a": (number, 1.0)})),
        (Mixed([exact]), Mixed([exact], weight=2)),
    ],
)
def test_metrics_that_differ_have_other_identities(one, other):
    assert metric_of(one) != metric_of(other)


@pytest.mark.parametrize("make", [lambda: exact, MajorityVote, lambda: Mixed({"a": (exact, MajorityVote())})])
def test_equal_metrics_have_one_and_no_address_is_in_it(make):
    assert metric_of(make()) == metric_of(make())
    assert " at 0x" not in metric_of(make())


def test_no_credential_of_a_judge_is_in_it():
    assert "secret" not in metric_of(SelfDiscrimination(lm=dspy.LM("a/b", api_key="secret", api_base="http://secret")))
