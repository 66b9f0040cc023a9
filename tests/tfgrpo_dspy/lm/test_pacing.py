from __future__ import annotations

import threading

import pytest

from tfgrpo_dspy.lm.pacing import Latencies, Limiter

POLICY, UPDATE = ("m", "policy"), ("m", "update")


def answer(limiter: Limiter, *, refused: bool, times: int = 1) -> None:
    for _ in range(times):
        limiter.release(limiter.acquire(), refused=refused)


def test_no_more_calls_than_the_bound_are_in_flight():
    limiter = Limiter(2)
    first, _ = limiter.acquire(), limiter.acquire()
    assert limiter.try_acquire() is None
    limiter.release(first, refused=False)
    assert limiter.try_acquire() is not None


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
    places = [limiter.acquire() for _ in range(16)]
    for place in places:
        limiter.release(place, refused=True)
    assert limiter.limit == 11


def test_the_bound_never_falls_below_one():
    limiter = Limiter(4)
    answer(limiter, refused=True, times=100)
    assert limiter.limit == 1


def test_what_says_nothing_about_the_rate_changes_nothing():
    limiter = Limiter(4)
    for _ in range(50):
        limiter.release(limiter.acquire(), refused=None)
    assert limiter.limit == 4


def test_who_waits_for_a_place_gets_the_one_given_back():
    limiter, got = Limiter(1), threading.Event()
    held = limiter.acquire()

    def wait() -> None:
        limiter.acquire()
        got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.is_set()
    limiter.release(held, refused=False)
    assert got.wait(10)
    thread.join()


def test_more_calls_than_a_connection_pool_holds_are_spread_over_several():
    limiter = Limiter(200)
    pools = [limiter.acquire()[0] for _ in range(200)]
    assert all(pools.count(pool) <= 96 for pool in set(pools))


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
    latencies = Latencies()
    for _ in range(40):
        latencies.add(POLICY, seconds)
    assert latencies.allowed(POLICY, timeouts) == allowed


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
