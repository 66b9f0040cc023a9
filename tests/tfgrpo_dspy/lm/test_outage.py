"""An endpoint that is away is waited for; what it did not answer is neither a result nor an error of the run."""

from __future__ import annotations

import threading

import dspy
import pytest
from dspy.lm15 import AuthError, RateLimitError, ServerError, TimeoutError, TransportError

from tests.tfgrpo_dspy.lm.raw import watchdog
from tests.tfgrpo_dspy.lm.test_over_http import OK, evaluate_with, failing, lm, stub
from tests.tfgrpo_dspy.scripted import exact
from tfgrpo_dspy import RunStopped, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.lm.flight import within
from tfgrpo_dspy.lm.outage import Outages
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, running_server
from tfgrpo_dspy.simulated.endpoint.faults import FaultLog, Faults
from tfgrpo_dspy.simulated.student import make_solver

M = "openai/m"


class Endpoint:
    """The outages of one endpoint that answered before, on a clock that stands still."""

    def __init__(self, limit: float | None = 3600.0) -> None:
        self.now, self.given_up = 1000.0, list[str]()
        self.outages = Outages(limit, self.given_up.append, lambda: self.now)
        self.outages.answered(M)
        self.woken = list[str]()

    def fails(self, error: Exception, *requests: str) -> bool:
        for request in requests:
            self.outages.failed(M, request, error)
        return self.outages.is_away(M)

    def enters(self, request: str) -> bool:
        return self.outages.enter(M, request, lambda: self.woken.append(request)) is True

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.outages._tick(M)


AWAY = ServerError("unavailable", status=503)


@pytest.mark.parametrize(
    ("error", "requests", "is_away"),
    [
        (AWAY, "aaa", True),
        (AWAY, "aa", False),
        (TransportError("connection refused"), "aaa", True),
        (ServerError("it cannot bear this one", status=500), "aaaaaaa", False),
        (ServerError("it cannot bear any", status=500), "aaab", True),
        (TimeoutError("no answer within 10 s"), "aaaaaaa", False),
        (TimeoutError("no answer within 10 s"), "abc", True),
        (RateLimitError("slow down", status=429), "abcd", False),
        (AuthError("who are you", status=401), "abcd", False),
    ],
)
def test_an_endpoint_is_away_when_nothing_that_is_asked_of_it_is_answered(error, requests, is_away):
    assert Endpoint().fails(error, *requests) is is_away


def test_an_answer_between_failures_says_that_it_is_there():
    endpoint = Endpoint()
    endpoint.fails(AWAY, "a", "b")
    endpoint.outages.answered(M)
    assert not endpoint.fails(AWAY, "a", "b")


def test_one_that_never_answered_is_misspelt_and_not_away():
    outages = Outages(3600.0, pytest.fail)
    for request in "abcdef":
        outages.failed(M, request, AWAY)
    assert not outages.is_away(M)
    outages.are_proven = True  # in an earlier process of the run it did
    for request in "abc":
        outages.failed("another", request, AWAY)
    assert outages.is_away("another")


def test_it_is_asked_with_one_call_at_a_time_and_ever_more_rarely():
    endpoint = Endpoint()
    endpoint.fails(AWAY, *"abc")
    assert not any(endpoint.enters(request) for request in "abc")
    waits = []
    for _ in range(12):
        began = endpoint.now
        while not endpoint.woken:
            endpoint.later(0.25)
        (probe,) = endpoint.woken
        endpoint.woken.clear()
        assert endpoint.enters(probe)
        assert not endpoint.enters("d")
        waits.append(endpoint.now - began)
        endpoint.fails(AWAY, probe)
        endpoint.enters(probe)
    assert waits[:6] == [0.25, 0.5, 1, 2, 4, 8]
    assert waits[-1] == 60
    endpoint.outages.answered(M)
    assert set(endpoint.woken) == set("abcd")
    assert all(endpoint.enters(request) for request in "abcd")


def test_a_probe_that_is_given_up_is_made_by_another():
    endpoint = Endpoint()
    endpoint.fails(AWAY, *"abc")
    endpoint.enters("a")
    endpoint.enters("b")
    endpoint.later(0.25)
    assert endpoint.woken == ["a"]
    assert endpoint.enters("a")
    endpoint.outages.failed(M, "a", KeyboardInterrupt())
    assert endpoint.woken == ["a", "b"]


def test_one_who_waits_no_longer_holds_up_nobody():
    endpoint = Endpoint()
    endpoint.fails(AWAY, *"abc")
    endpoint.enters("a")
    endpoint.enters("b")
    endpoint.later(0.25)
    endpoint.later(0.25)
    assert endpoint.woken == ["a", "b"]
    assert endpoint.enters("b")


def test_it_is_not_waited_for_longer_than_the_limit():
    endpoint = Endpoint(limit=100.0)
    endpoint.fails(AWAY, *"abc")
    endpoint.later(99)
    assert not endpoint.given_up
    endpoint.later(1)
    assert endpoint.given_up == ["max_outage=100: the endpoint of openai/m was away for 100 s"]


@pytest.mark.parametrize("engine", ["auto", "litellm"])
@pytest.mark.parametrize("status", [500, 503])
def test_a_passing_outage_loses_nothing_and_is_told(engine, status, caplog):
    reply = lambda n: failing(status, "away") if 11 <= n <= 15 else (200, OK, {})  # noqa: E731
    with watchdog(), stub(reply) as server:
        made = evaluate_with(lm(server.api_base, num_retries=3, engine=engine), 20, max_errors=0)
    assert not made.lost
    assert server.requests == made.traffic.calls == 25
    told = [record.message for record in caplog.records if "the endpoint of" in record.message]
    assert [("is away" in message, "is back" in message) for message in told] in ([], [(True, False), (False, True)])


def test_an_outage_without_end_ends_the_run_in_order():
    reply = lambda n: failing(503, "away") if n > 10 else (200, OK, {})  # noqa: E731
    with watchdog(), stub(reply) as server:
        made = evaluate_with(lm(server.api_base, num_retries=3), 20, max_outage=0.5)
    assert made.stopped_by.startswith("max_outage=0.5: the endpoint of openai/x was away for ")
    assert made.lost == {"budget": 10}


def test_nothing_is_waited_for_where_that_is_not_wanted():
    reply = lambda n: failing(503, "away", **{"Retry-After": "0"}) if n > 10 else (200, OK, {})  # noqa: E731
    with watchdog(), stub(reply) as server:
        made = evaluate_with(lm(server.api_base), 20, max_outage=None, max_errors=100)
    assert made.lost == {"infrastructure": 10}


class Gone(FaultLog):
    """Errors from a request on."""

    def __init__(self, after: int) -> None:
        super().__init__(Faults(error=1.0), 0)
        self._left, self._counting = after, threading.Lock()

    def draw(self):
        fault = super().draw()
        with self._counting:
            self._left -= 1
        return fault if self._left < 0 else None


@pytest.mark.parametrize("more", [{"max_outage": 0.5}, {"max_outage": None, "max_errors": 3}])
def test_a_run_that_an_outage_ended_is_taken_up_as_if_nothing_had_been(more, tmp_path):
    """Whether it was waited for, or ran into `max_errors`: what infrastructure lost is asked again, and not counted."""

    def compiled(faults: FaultLog | None, log_dir, **settings):
        calls: list = []
        with running_server(seed=0, faults=faults, on_exchange=calls.append) as url:
            model = dspy.LM(M, api_base=url, api_key="x", cache=False, seed=1, num_retries=1)
            with dspy.context(lm=model):
                optimizer = TrainingFreeGRPO(
                    number, epochs=2, group_size=4, num_threads=8, log_dir=log_dir, display_progress=False, **settings
                )
                return optimizer.compile(make_solver(), demo_examples(12, 0)).detailed_results, len(calls)

    undisturbed, whole = compiled(None, tmp_path / "other")
    with watchdog():
        try:
            ended, _ = compiled(Gone(60), tmp_path / "log", **more)
            assert ended.stopped_by.startswith("max_outage=0.5")
        except RunStopped as error:
            assert "more than max_errors=3 examples" in str(error)  # noqa: PT017 - one of two ways to end
        result, calls = compiled(None, tmp_path / "log", max_errors=0)
    assert not result.stopped_by
    assert not any(group.lost for step in result.steps for group in step.groups)
    assert result.library == undisturbed.library
    assert calls == whole - 60


def test_the_time_of_an_outage_is_not_a_rollouts():
    excused = iter([0.0, 30.0, 30.0])
    task = threading.Event()
    threading.Timer(0.05, task.set).start()
    assert within(0.01, task.wait, lambda: next(excused, 30.0))


def test_a_judge_that_is_asked_by_the_metric_is_waited_for_too():
    reply = lambda n: failing(503, "away") if 11 <= n <= 14 else (200, OK, {})  # noqa: E731
    with watchdog(), stub(lambda n: (200, OK, {})) as server, stub(reply) as other:
        judge = dspy.LM("openai/judge", api_base=other.api_base, api_key="x", cache=False, num_retries=3)

        def judged(example, prediction, trace=None):
            return exact(example, prediction) if judge("right?") else 0.0

        with dspy.context(lm=lm(server.api_base)):
            made = evaluate(
                dspy.Predict("question -> answer"), demo_examples(20, 0), judged, k=1, num_threads=2, max_errors=0,
                display_progress=False,
            )  # fmt: skip
    assert not made.lost
