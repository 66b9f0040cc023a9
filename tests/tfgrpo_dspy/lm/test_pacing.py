from __future__ import annotations

import pytest

from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.pacing import Latencies, Limiter

POLICY, UPDATE = ("m", "policy"), ("m", "update")


def answer(limiter: Limiter, *, refused: bool, times: int = 1) -> None:
    for _ in range(times):
        limiter.leave(limiter.enter(), refused=refused)


def test_no_more_calls_than_the_bound_are_in_flight():
    limiter = Limiter(2)
    first, _ = limiter.enter(), limiter.enter()
    assert limiter.enter() is None
    limiter.leave(first, refused=False)
    assert limiter.enter() is not None


def test_single_refusals_do_not_lower_the_bound():
    limiter = Limiter(16)
    for _ in range(20):
        answer(limiter, refused=True)
        answer(limiter, refused=False, times=19)
    assert limiter.limit == 16


def test_sustained_refusals_lower_the_bound_and_answers_raise_it_again():
    limiter = Limiter(16)
    answer(limiter, refused=True, times=12)
    lowered = limiter.limit
    assert 1 <= lowered <= 4
    answer(limiter, refused=False, times=40)
    assert lowered < limiter.limit
    answer(limiter, refused=False, times=400)
    assert limiter.limit == 16


def test_a_wave_of_calls_that_were_in_flight_together_lowers_the_bound_once():
    limiter = Limiter(16)
    places = [limiter.enter() for _ in range(16)]
    for place in places:
        limiter.leave(place, refused=True)
    assert limiter.limit == 11


def test_the_bound_never_falls_below_one():
    limiter = Limiter(4)
    answer(limiter, refused=True, times=100)
    assert limiter.limit == 1


def test_what_says_nothing_about_the_rate_changes_nothing():
    limiter = Limiter(4)
    for _ in range(50):
        limiter.leave(limiter.enter(), refused=None)
    assert limiter.limit == 4


def test_who_waits_for_a_place_is_woken_when_one_is_given_back():
    limiter, woken = Limiter(1), []
    held = limiter.enter()
    assert limiter.enter(lambda: woken.append("first")) is None
    assert limiter.enter(lambda: woken.append("second")) is None
    limiter.leave(held, refused=False)
    assert woken == ["first"]
    assert limiter.enter() is not None
    limiter.wake_all()
    assert woken == ["first", "second"]


def test_nothing_is_known_of_the_latency_before_enough_was_seen():
    latencies = Latencies()
    for _ in range(19):
        latencies.add(POLICY, 1.0)
    assert latencies.slow(POLICY) is None
    assert latencies.allowed(POLICY) is None
    latencies.add(POLICY, 1.0)
    assert latencies.slow(POLICY) == 1.0


@pytest.mark.parametrize(
    ("seconds", "timeouts", "allowed"), [(0.01, 0, 10), (3.5, 0, 12), (10.0, 0, 30), (10.0, 1, 60), (1e4, 0, 600)]
)
def test_a_call_may_take_a_multiple_of_what_slow_ones_took_within_bounds_and_in_few_steps(seconds, timeouts, allowed):
    meter = Meter()
    for _ in range(40):
        meter.answered(POLICY, seconds)
    assert meter.allowed(POLICY, timeouts, None) == allowed


def test_a_kind_that_was_not_seen_may_take_longer_than_the_others_of_its_model():
    latencies = Latencies()
    for _ in range(20):
        latencies.add(POLICY, 3.0)
    assert latencies.allowed(UPDATE) == 30
    latencies.add(UPDATE, 25.0)
    assert latencies.allowed(UPDATE) == 90
    assert latencies.allowed(("another", "policy")) is None


def test_the_time_allowed_follows_the_endpoint():
    latencies = Latencies()
    for _ in range(40):
        latencies.add(POLICY, 10.0)
    for _ in range(400):
        latencies.add(POLICY, 0.1)
    assert latencies.allowed(POLICY) == 10
