"""Limits bound what they are named after: the whole of a call, the whole of a reply, the whole of a run."""

from __future__ import annotations

import asyncio
import contextvars
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dspy
import pytest
from dspy.utils.exceptions import LMError, LMTimeoutError

from tests.tfgrpo_dspy.lm import raw as endpoints
from tests.tfgrpo_dspy.lm.raw import answer, lm, raw, watchdog
from tests.tfgrpo_dspy.lm.test_engine import ask, learned, metered
from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, stub
from tests.tfgrpo_dspy.loopback import PATIENCE, until
from tests.tfgrpo_dspy.scripted import exact, examples
from tfgrpo_dspy import BudgetError, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.lm import flight, undocumented
from tfgrpo_dspy.lm import meter as metering_module
from tfgrpo_dspy.lm.budget import Budget, OutOfBudget
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.runtime.workers import Workers

QA = "question -> answer"
ENGINES = ["auto", "litellm"]
WAYS = ["thread", "task"]
ENDLESS = [endpoints.silent, endpoints.drips_its_body, endpoints.drips_its_head, endpoints.drips_chunk_sizes]


def asked(way: str):
    return ask() if way == "thread" else asyncio.run(dspy.Predict(QA).acall(question="q?"))


@pytest.fixture(autouse=True, scope="module")
def loaded():
    """LiteLLM, which loads much of itself in its first call."""
    with raw(lambda connection, n, server: answer(connection)) as server, dspy.context(lm=lm(server, engine="litellm")):
        for way in WAYS:
            asked(way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("behave", ENDLESS, ids=lambda behave: behave.__name__)
def test_a_call_has_one_deadline_over_all_of_it(behave, engine, way):
    with watchdog(), raw(behave) as server, metered(lm(server, engine=engine), call_timeout=0.3) as meter:
        # LiteLLM has a limit of its own on each read, as long as ours, and on a busy machine it may be the first to see
        with pytest.raises(
            LMTimeoutError, match=r"no answer within 0\.3 s; the request was given up|Request timed out"
        ):
            asked(way)
        until(lambda: server.requests == 1)
        assert meter.traffic.failures == {"timeout": 1}
        assert meter.limiter.in_flight == meter.spending.in_flight == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("behave", ENDLESS[1:], ids=lambda behave: behave.__name__)
def test_a_call_that_is_given_up_hangs_up(behave, engine):
    with watchdog(), raw(behave) as server, metered(lm(server, engine=engine), call_timeout=0.3):
        with pytest.raises(LMTimeoutError):
            ask()
        assert server.closed.wait(PATIENCE)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_reply_without_end_is_given_up_long_before_memory_is(engine, way, monkeypatch):
    monkeypatch.setattr(flight, "LARGEST", 1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with watchdog(), raw(endpoints.never_ends) as server, metered(lm(server, engine=engine)) as meter:
        with pytest.raises(LMError, match="the reply is larger than 1 MiB and was given up"):
            asked(way)
        assert server.closed.wait(PATIENCE)
        assert meter.limiter.in_flight == meter.spending.in_flight == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kB


def test_a_long_reply_within_the_bound_is_read():
    long = {**OK, "padding": "x" * (5 << 20)}
    with raw(lambda connection, n, server: answer(connection, long)) as server, metered(lm(server)):
        assert ask().answer == "1"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_straggler_is_repeated_and_the_first_answer_ends_the_other(engine):
    def first_is_silent(connection, number, server):
        endpoints.drips_its_body(connection, number, server) if number == 1 else answer(connection)

    with watchdog(), raw(first_is_silent) as server:
        with metered(lm(server, engine=engine), learned(Meter(hedge=0.5), 0.01)) as meter:
            assert ask().answer == "1"
        assert (server.requests, meter.traffic.hedges) == (2, 1)
        assert server.closed.wait(PATIENCE)
        assert meter.spending.spent.lm_calls == 2
        assert meter.limiter.in_flight == meter.spending.in_flight == 0
        assert meter.traffic.failures == {}


class Sets:
    """A socket that notes what deadlines it is given."""

    def __init__(self) -> None:
        self.deadlines: list[float | None] = []

    def gettimeout(self) -> float | None:
        return 30.0

    def settimeout(self, seconds: float | None) -> None:
        self.deadlines.append(seconds)

    def recv(self, size: int) -> bytes:
        return b"x"


def test_a_deadline_is_set_anew_only_where_it_is_another():
    """To set one lets all other threads go first: at 64 of them, several times a call, that cost a third more CPU."""
    inner = Sets()
    sock = undocumented._Socket(inner)
    for seconds in (600.0, 599.0, 595.0, 2.0, 1.99, 600.0):
        sock.flight = flight.Flight(seconds)
        sock.recv(1)
    assert [round(deadline) for deadline in inner.deadlines] == [600, 2, 600]


def test_a_straggling_coroutine_is_repeated_too():
    def first_is_silent(connection, number, server):
        endpoints.silent(connection, number, server) if number == 1 else answer(connection)

    with watchdog(), raw(first_is_silent) as server:
        with metered(lm(server), learned(Meter(hedge=0.5), 0.01)) as meter:
            assert asked("task").answer == "1"
        assert (server.requests, meter.traffic.hedges, meter.spending.spent.lm_calls) == (2, 1, 2)


# The whole run.


@pytest.mark.parametrize("behave", ENDLESS, ids=lambda behave: behave.__name__)
def test_max_seconds_ends_a_run_whose_endpoint_does_not(behave, monkeypatch):
    monkeypatch.setattr(metering_module, "GRACE", 0.3)
    with (
        watchdog(),
        raw(behave) as server,
        dspy.context(lm=lm(server)),
        pytest.raises(BudgetError, match="max_seconds"),
    ):
        evaluate(dspy.Predict(QA), examples(3), exact, k=1, display_progress=False, budget=Budget(max_seconds=0.5))


def test_max_seconds_cuts_a_wait_that_the_endpoint_asked_for():
    with watchdog(), stub(lambda n: failing(429, "later", **{"Retry-After": "100"})) as server:
        model = dspy.LM("openai/x", api_base=server.api_base, api_key="x", cache=False)
        with dspy.context(lm=model), pytest.raises(BudgetError, match=r"max_seconds=0\.5"):
            evaluate(dspy.Predict(QA), examples(3), exact, k=1, display_progress=False, budget=Budget(max_seconds=0.5))
        assert server.requests <= 8


def test_a_run_that_ends_in_time_learns_from_what_came_in_time(monkeypatch):
    monkeypatch.setattr(metering_module, "GRACE", 0.3)

    def falls_silent(connection, number, server):
        answer(connection) if number <= 4 else endpoints.silent(connection, number, server)

    with watchdog(), raw(falls_silent) as server, dspy.context(lm=lm(server)):
        made = evaluate(
            dspy.Predict(QA),
            examples(8),
            exact,
            k=1,
            num_threads=2,
            display_progress=False,
            budget=Budget(max_seconds=5.0),
        )
    assert sum(len(group.scored) for group in made.groups) == 4
    assert made.lost == {"budget": 4}
    assert made.stopped_by.startswith("max_seconds=5")


@pytest.fixture
def interruptible():
    """As in the foreground: a shell's background job ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("waits", ["for a Retry-After", "for an answer"])
def test_one_interrupt_ends_waits_and_calls_at_once(waits, interruptible):
    begun = threading.Event()

    def behave(connection, number, server):
        begun.set()
        if waits == "for an answer":
            endpoints.silent(connection, number, server)
        connection.sendall(b"HTTP/1.1 429 Later\r\nretry-after: 100\r\ncontent-length: 0\r\n\r\n")

    with (
        watchdog(),
        raw(behave) as server,
        dspy.context(lm=lm(server, num_retries=3)),
        interrupted_after(begun),
        pytest.raises(KeyboardInterrupt),
    ):
        TrainingFreeGRPO(exact, epochs=1, group_size=2, num_threads=2, display_progress=False).compile(
            dspy.Predict(QA), examples(4)
        )


@contextmanager
def interrupted_after(begun: threading.Event) -> Iterator[None]:
    """Interrupts this process when the run waits for its workers, again if that was of no use; never once it is over.

    A signal at any other moment may be raised where nobody can pass it on (within a finalizer), or in pytest itself.
    """
    over, main = threading.Event(), threading.main_thread().ident

    def interrupt() -> None:
        while not over.wait(0.01):
            frame = sys._current_frames().get(main)
            if begun.is_set() and frame is not None and frame.f_code is Workers.results.__code__:
                signal.pthread_kill(main, signal.SIGINT)  # to the thread that waits, or nothing wakes it
                over.wait(5)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_wait_for_a_place_ends_with_the_run():
    held, entered = threading.Event(), threading.Event()

    def behave(connection, number, server):
        entered.set()
        held.wait(PATIENCE)
        answer(connection)

    def second() -> None:
        try:
            ask()
        except OutOfBudget as ended:
            endings.append(str(ended))

    endings: list[str] = []
    with watchdog(), raw(behave) as server, metered(lm(server), most=1) as meter:
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(task,)) for task in (ask, second)]
        threads[0].start()
        assert entered.wait(PATIENCE)
        threads[1].start()
        while not meter.limiter._waiting:
            threads[1].join(0.01)
        meter.stop("that is all")
        threads[1].join()
        held.set()
        threads[0].join()
    assert endings == ["that is all"]
