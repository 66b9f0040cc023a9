"""The fault matrix: whole runs over real HTTP against an endpoint that fails in every way it can."""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from dataclasses import replace

import dspy
import pytest

from tests.tfgrpo_dspy.lm.raw import answer, raw, watchdog
from tests.tfgrpo_dspy.lm.raw import lm as raw_lm
from tests.tfgrpo_dspy.lm.test_over_http import OK
from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.scripted import examples
from tfgrpo_dspy import TrainingFreeGRPO, evaluate
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.lm import meter
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.records.rollouts import Lost, Scored
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, running_server, simulated_lm
from tfgrpo_dspy.simulated.endpoint.faults import FaultLog, Faults
from tfgrpo_dspy.simulated.student import make_solver

HANGING = 3.0
"""Seconds before a call counts as hanging where some hang; the endpoint answers in milliseconds, or in a second if the
machine is busy."""

REASONS = {
    "reset": "LMTransportError",
    "rate_limit": "LMRateLimitError 429",
    "error": "LMServerError 500",
    "bad_gateway": "LMServerError 502",
    "malformed": "NoReply 200",
    "empty": "EmptyReply",
    "cut": "CutReply",
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """Before a call is repeated."""
    monkeypatch.setattr(meter, "_FIRST_WAIT", 0.01)


def learn(faults: Faults, seed: int = 0, **settings) -> tuple[dspy.Module, FaultLog]:
    log = FaultLog(faults, seed)
    given = {"epochs": 2, "group_size": 4, "num_threads": 8, "max_errors": 60, "display_progress": False}
    given |= {"call_timeout": PATIENCE, **settings}
    with running_server(seed=0, faults=log) as url:
        lm = dspy.LM("openai/frozen-lm", api_base=url, api_key="x", cache=False, seed=1, num_retries=3)
        with dspy.context(lm=lm):
            optimizer = TrainingFreeGRPO(number, **given)
            return optimizer.compile(make_solver(), demo_examples(12, 0)), log


def rollouts(result: CompileResult) -> list[Scored | Lost]:
    return [rollout for step in result.steps for group in step.groups for rollout in group.rollouts]


def gain_of(program: dspy.Module):
    """The learned library's mean reward on held-out problems, on an endpoint without faults."""
    with dspy.context(lm=simulated_lm(0, cache=False)):
        learned = attach(make_solver(), program.detailed_results.library)
        return evaluate(learned, demo_examples(40, 0, "test"), number, k=4, seed=0, display_progress=False).mean


@pytest.fixture(scope="module")
def without_faults():
    program, log = learn(Faults())
    assert set(log.counts) == {"none"}
    return gain_of(program)


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(replace(Faults.each(0.05), hang=0.0), id="every fault that answers at 5%"),
        pytest.param(Faults(error=0.1, rate_limit=0.1, reset=0.1), id="30% fail"),
    ],
)
def test_a_run_on_a_failing_endpoint_ends_with_a_library_as_good_as_without_faults(faults, without_faults):
    program, log = learn(faults)
    result = program.detailed_results
    assert len(result.steps) == 2
    assert result.stopped_by is None
    learned = gain_of(program)
    assert learned.low <= without_faults.high
    assert without_faults.low <= learned.high
    assert len([r for r in rollouts(result) if isinstance(r, Scored)]) >= 0.9 * len(rollouts(result))
    assert all(lost.cause == "infrastructure" and lost.error for lost in rollouts(result) if isinstance(lost, Lost))
    came_to_nothing = result.traffic.failures.get("LMTransportError", 0)  # the server may never have seen it
    assert sum(log.counts.values()) - log.counts["reset"] == result.traffic.calls - came_to_nothing
    made = {reason: log.counts[fault] for fault, reason in REASONS.items() if fault in log.counts}
    assert made == {reason: result.traffic.failures.get(reason, 0) for reason in made}, "each is in the record"


def test_a_run_whose_calls_hang_now_and_then_gives_those_up_and_goes_on():
    program, log = learn(Faults(hang=0.05), epochs=1, group_size=3, num_threads=16, call_timeout=HANGING)
    result = program.detailed_results
    assert result.stopped_by is None
    assert len(result.library) > 0
    assert len([r for r in rollouts(result) if isinstance(r, Scored)]) >= 0.9 * len(rollouts(result))
    assert 0 < log.counts["hang"] <= result.traffic.failures["timeout"], "a machine that is busy hangs too"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("reset", "LMTransportError"),
        ("rate_limit", "LMRateLimitError"),
        ("error", "LMServerError"),
        ("bad_gateway", "LMServerError"),
        ("cut", "LMServerError"),
        ("empty", "LMServerError"),
        ("malformed", "LMServerError"),
        ("hang", "LMTimeoutError"),
    ],
)
def test_an_endpoint_that_always_fails_scores_nothing_and_says_why(fault, reason):
    log = FaultLog(Faults(**{fault: 0.5}), 3)
    with running_server(seed=0, faults=log) as url:
        lm = dspy.LM("openai/frozen-lm", api_base=url, api_key="x", cache=False, seed=1, num_retries=0)
        with dspy.context(lm=lm):
            made = evaluate(
                make_solver(),
                demo_examples(6, 0),
                number,
                k=2,
                num_threads=6,
                max_errors=12,
                max_outage=None,
                call_timeout=HANGING if fault == "hang" else None,
                display_progress=False,
            )
    lost = [rollout for group in made.groups for rollout in group.lost]
    assert len(lost) == log.counts[fault] == sum(made.traffic.failures.values())
    assert all(rollout.cause == "infrastructure" and reason in rollout.error for rollout in lost)
    assert made.policy_failures == 0
    assert 0 < len(lost) < 12


class Once(FaultLog):
    """One fault at the first request, and none after it."""

    def __init__(self, fault: str) -> None:
        super().__init__(Faults(), 0)
        self._left = [fault]

    def draw(self) -> str | None:
        return self._left.pop() if self._left else super().draw()


@pytest.mark.parametrize("engine", ["auto", "litellm"])
@pytest.mark.parametrize("fault", ["reset", "rate_limit", "error", "bad_gateway", "cut", "empty", "malformed"])
def test_what_fails_for_a_moment_is_asked_again_and_not_lost(fault, engine):
    log = Once(fault)
    with running_server(seed=0, faults=log) as url:
        lm = dspy.LM("openai/frozen-lm", api_base=url, api_key="x", cache=False, num_retries=1, engine=engine)
        with dspy.context(lm=lm):
            made = evaluate(make_solver(), demo_examples(1, 0), number, k=1, display_progress=False)
    assert not made.lost
    assert made.traffic.retries == log.counts["none"] == 1


HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", json.dumps(OK).encode()
CONNECTIONS = {
    "reset": b"",
    "no head": b"SSH-2.0-OpenSSH_9\r\n",
    "100 and no more": b"HTTP/1.1 100 Continue\r\n\r\n",
    "half a head": HEAD[:30],
    "half a body": HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY[:40],
    "half a chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY[:40],
    "chunks without an end": HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n",
    "a length that is none": HEAD + b"content-length: -5\r\n\r\n" + BODY,
    "half of JSON": HEAD + b"content-length: 40\r\nconnection: close\r\n\r\n" + BODY[:40],
    "broken gzip": HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY,
}


@pytest.mark.parametrize("engine", ["auto", "litellm"])
@pytest.mark.parametrize("what", CONNECTIONS)
def test_a_connection_that_ends_at_any_point_is_asked_again_and_never_scored(what, engine):
    def breaks(connection, number, server):
        if number % 2 == 0:
            return answer(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", not CONNECTIONS[what], 0))
        connection.sendall(CONNECTIONS[what])
        raise OSError

    with watchdog(), raw(breaks) as server:
        for retries in (1, 0):
            with dspy.context(lm=raw_lm(server, engine=engine, num_retries=retries)):
                made = evaluate(
                    dspy.Predict("question -> answer"),
                    examples(1),
                    lambda example, prediction, trace=None: 1.0,
                    k=2 - retries,
                    num_threads=1,
                    max_errors=3,
                    display_progress=False,
                )
            assert sum(made.lost.values()) == 1 - retries
            assert {reward for rewards in made.rewards for reward in rewards} == {1.0}
    assert server.requests == 4


def test_a_reply_that_lost_its_form_is_the_policys_own_failure():
    with running_server(seed=0, faults=FaultLog(Faults(garbled=1.0), 0)) as url:
        lm = dspy.LM("openai/frozen-lm", api_base=url, api_key="x", cache=False, seed=1)
        with dspy.context(lm=lm):
            made = evaluate(make_solver(), demo_examples(2, 0), number, k=1, num_threads=2, display_progress=False)
    assert made.policy_failures == 2
    assert not made.lost


def test_a_summary_that_was_cut_off_is_never_used():
    said: Counter[str] = Counter()
    program, log = learn(Faults(cut=0.5), epochs=1, group_size=3)
    for step in program.detailed_results.steps:
        for advantage in step.advantages:
            for summary in advantage.summaries:
                said["fallback" if summary.failures else "whole"] += 1
                assert summary.failures or summary.text.rstrip().endswith((".", "!", "?", ")"))
    assert log.counts["cut"] > 0
    assert said["whole"] > 0


@pytest.mark.parametrize("rates", [{"hang": -0.1}, {"cut": 1.5}, {"hang": 0.6, "reset": 0.6}])
def test_shares_of_faults_that_cannot_be_are_refused(rates):
    with pytest.raises(SettingsError, match="share"):
        Faults(**rates)


def test_faults_are_drawn_from_the_seed_at_their_rates():
    first, again, other = (FaultLog(Faults.each(0.05), seed) for seed in (1, 1, 2))
    drawn = [first.draw() for _ in range(4000)]
    assert drawn == [again.draw() for _ in range(4000)]
    assert drawn != [other.draw() for _ in range(4000)]
    assert all(abs(count / 4000 - 0.05) < 0.02 for fault, count in first.counts.items() if fault != "none")
