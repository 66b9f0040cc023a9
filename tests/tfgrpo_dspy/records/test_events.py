"""Usage adds up, and an unknown cost is not zero."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records import events

usages = st.builds(
    Usage,
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from([None, 0.0, 0.5]),
)


@given(usages, usages, usages)
def test_usage_adds_in_any_order_and_nothing_used_is_its_zero(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Usage() == a


@given(usages, usages)
def test_a_sum_with_an_unknown_cost_is_unknown(a, b):
    assert ((a + b).cost_usd is None) == (a.cost_usd is None or b.cost_usd is None)


@pytest.mark.parametrize("name", [n for n, v in vars(events).items() if dataclasses.is_dataclass(v)])
def test_events_and_records_are_frozen(name):
    assert getattr(events, name).__dataclass_params__.frozen
