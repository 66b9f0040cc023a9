"""The one pool of a run: bounded, ordered, never deadlocked, in the caller's dspy context."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from functools import partial
from itertools import permutations
from pathlib import Path

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.events import EpochFinished
from tfgrpo_dspy.runtime.workers import Workers, done

SECONDS = 20
"""Before a test that waits for a thread gives up."""


def event(number: int) -> EpochFinished:
    return EpochFinished(number, ExperienceLibrary())


def wait(flag: threading.Event) -> None:
    assert flag.wait(SECONDS), "nobody set the flag"


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_results_come_in_the_order_of_submission_whatever_finishes_first(order):
    turns = [threading.Event() for _ in range(5)]
    turns[0].set()

    def task(i: int) -> int:
        place = order.index(i)
        wait(turns[place])
        turns[place + 1].set()
        return i * i

    with Workers(4) as workers:
        assert workers.results([workers.submit(task, i) for i in range(4)]) == [0, 1, 4, 9]


@given(st.lists(st.lists(st.integers(), max_size=5), max_size=6), st.integers(1, 4))
def test_chained_continuations_give_the_same_results_in_any_number_of_threads(groups, threads):
    with Workers(threads) as workers:
        gathered = [workers.gather([workers.submit(lambda x: x + 1, x) for x in group]) for group in groups]
        sums = [workers.then(futures, sum) for futures in gathered]
        doubled = [workers.bind(future, lambda total: workers.submit(lambda t: 2 * t, total)) for future in sums]
        assert workers.results(doubled) == [2 * sum(x + 1 for x in group) for group in groups]


def test_a_pool_of_one_does_not_wait_for_itself_through_long_chains():
    with Workers(1) as workers:
        future: Future[int] = done(0)
        for _ in range(200):
            future = workers.then(future, lambda x: x + 1)
        assert workers.results([future]) == [200]


def test_no_more_tasks_than_threads_are_under_way_and_all_threads_are_used():
    barrier = threading.Barrier(3)  # passes only if three tasks are in it at once
    lock, under_way, most = threading.Lock(), [0], [0]

    def task() -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        barrier.wait(SECONDS)
        with lock:
            under_way[0] -= 1

    with Workers(3) as workers:
        workers.results([workers.submit(task) for _ in range(12)])
    assert most[0] == 3


def test_the_first_error_is_raised_at_once_while_others_still_run():
    release, started = threading.Event(), threading.Event()

    def blocked() -> None:
        started.set()
        wait(release)

    def broken() -> None:
        wait(started)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), Workers(2) as workers:
        workers.results([workers.submit(blocked), workers.submit(broken)])
    assert not release.is_set()  # nobody waited for it
    release.set()


def test_after_an_error_what_has_not_started_never_starts():
    ran: list[int] = []

    def broken() -> None:
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), Workers(1) as workers:
        workers.results([workers.submit(task) for task in (broken, *(partial(ran.append, i) for i in range(50)))])
    assert ran == []


def test_whoever_waits_for_what_an_error_elsewhere_kept_from_starting_is_told_that_error():
    def broken() -> None:
        raise ValueError("stop")

    with Workers(1) as workers:
        assert isinstance(workers.submit(broken).exception(SECONDS), ValueError)
        with pytest.raises(ValueError, match="stop"):
            workers.results([workers.submit(lambda: 1)])


def test_work_that_a_stopped_pool_is_given_is_cancelled_not_raised_in_its_threads():
    with pytest.raises(ValueError, match="stop"), Workers(1) as workers:
        raise ValueError("stop")
    late = workers.submit(lambda: 1)
    assert late.cancelled()
    with pytest.raises(CancelledError):
        workers.bind(late, lambda value: done(value)).result(SECONDS)


def test_errors_pass_through_chains_and_skip_what_depends_on_them():
    ran: list[object] = []

    def broken(value: object) -> None:
        raise LookupError(f"after {value}")

    with Workers(2) as workers:
        failed = workers.then(workers.submit(lambda: 1), broken)
        after = workers.then(failed, ran.append)
        with pytest.raises(LookupError, match="after 1"):
            workers.results([after])
        mistaken = workers.bind(done(2), broken)  # a mistake in the follower itself
        with pytest.raises(LookupError, match="after 2"):
            workers.results([mistaken])
    assert ran == []


def test_an_error_that_is_no_exception_reaches_the_caller_too():
    def leave() -> None:
        raise SystemExit("a tool called sys.exit")

    with pytest.raises(SystemExit), Workers(1) as workers:
        workers.results([workers.submit(leave)])


def test_two_errors_are_one_error():
    both = threading.Barrier(2)

    def broken(name: str) -> None:
        both.wait(SECONDS)
        raise ValueError(name)

    with pytest.raises(ValueError, match=r"one|two"), Workers(2) as workers:
        workers.results([workers.submit(broken, "one"), workers.submit(broken, "two")])


def test_tasks_and_continuations_see_the_context_of_whoever_made_the_pool():
    marker: ContextVar[str] = ContextVar("marker", default="unset")

    def seen(_: object = None) -> tuple[str, int]:
        return marker.get(), dspy.settings.max_errors

    marker.set("mine")
    with dspy.context(max_errors=77), Workers(2) as workers:
        chained = workers.then(workers.submit(seen), seen)
        assert workers.results([workers.submit(seen), chained]) == [("mine", 77), ("mine", 77)]


def test_what_one_task_sets_no_other_task_sees():
    marker: ContextVar[int] = ContextVar("marker", default=0)

    def bump() -> int:
        marker.set(marker.get() + 1)
        return marker.get()

    with Workers(1) as workers:
        assert workers.results([workers.submit(bump) for _ in range(5)]) == [1] * 5


def test_events_are_handed_on_in_the_calling_thread_before_the_results():
    received: list[tuple[int, int]] = []

    def task(workers: Workers, number: int) -> int:
        workers.announce(event(number))
        return number

    with Workers(4, lambda e: received.append((e.epoch, threading.get_ident()))) as workers:
        results = workers.results([workers.submit(task, workers, i) for i in range(20)])
        assert sorted(number for number, _ in received) == results == list(range(20))
    assert {thread for _, thread in received} == {threading.get_ident()}


def test_events_are_handed_on_while_others_are_awaited():
    seen = threading.Event()

    def early(workers: Workers) -> None:
        workers.announce(event(1))

    with Workers(2, lambda e: seen.set()) as workers:
        # The second task ends only when the event of the first has been received.
        workers.results([workers.submit(early, workers), workers.submit(wait, seen)])


def test_an_error_of_the_listener_stops_the_wait():
    def refuse(e: object) -> None:
        raise ValueError("too many")

    release = threading.Event()

    def blocked(workers: Workers) -> None:
        workers.announce(event(1))
        wait(release)

    with pytest.raises(ValueError, match="too many"), Workers(2, refuse) as workers:
        workers.results([workers.submit(blocked, workers)])
    release.set()


def test_nothing_to_wait_for_is_an_empty_list():
    with Workers(1) as workers:
        assert workers.results([]) == []
        assert workers.results([workers.gather([])]) == [[]]


def test_one_pool_answers_several_times_without_mixing_the_events_up():
    received: list[int] = []

    def task(workers: Workers, number: int) -> int:
        workers.announce(event(number))
        return number

    with Workers(3, lambda e: received.append(e.epoch)) as workers:
        for round_ in range(10):
            assert workers.results([workers.submit(task, workers, round_)]) == [round_]
            assert received[-1] == round_


def test_hundreds_of_groups_stream_through_a_pool_of_two():
    with Workers(2) as workers:
        groups = [workers.gather([workers.submit(pow, i, 2) for i in range(g % 4)]) for g in range(300)]
        sums = workers.results([workers.then(group, sum) for group in groups])
    assert sums == [sum(i * i for i in range(g % 4)) for g in range(300)]


def test_whoever_interrupts_a_run_waits_for_no_task():
    begun, over, ended = threading.Event(), threading.Event(), []

    def task() -> None:
        begun.set()
        wait(over)
        ended.append(True)

    workers = Workers(1)
    first, second = workers.submit(task), workers.submit(task)
    wait(begun)
    workers.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # returns, or this test hangs
    assert not ended
    assert second.cancelled()
    over.set()
    first.result(SECONDS)


SLEEPS = """
import threading
from tfgrpo_dspy.runtime.pool import Pool
pool, begun = Pool(1), threading.Event()
pool.submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
"""


def test_a_process_ends_whatever_its_tasks_wait_for():
    subprocess.run([sys.executable, "-c", SLEEPS], check=True, timeout=10 * SECONDS, cwd=Path(__file__).parents[3])
