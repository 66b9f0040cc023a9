"""Faults of a real endpoint, over real HTTP on the loopback: DSPy's own client, our judgement."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import exact, examples
from tfgrpo_dspy import RunStopped, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.records.rollouts import Lost

QA = "question -> answer"
OK = {
    "id": "c",
    "object": "chat.completion",
    "model": "x",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "[[ ## answer ## ]]\n1\n\n[[ ## completed ## ]]"},
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}

Reply = Callable[[int], tuple[int, dict, dict[str, str]]]
"""Number of the request, from 1, to status, body and headers."""


class Stub(ThreadingHTTPServer):
    """An OpenAI-compatible endpoint that answers by request number and counts."""

    daemon_threads = True

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.requests, self.keys = reply, 0, set[str | None]()
        self.lock = threading.Lock()

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.requests += 1
            self.server.keys.add(self.headers["Authorization"])
            status, body, headers = self.server.reply(self.server.requests)
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def stub(reply: Reply) -> Iterator[Stub]:
    with Stub(reply) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def lm(api_base: str, **settings) -> dspy.LM:
    return dspy.LM("openai/x", api_base=api_base, api_key="x", **{"num_retries": 0, "cache": False, **settings})


def failing(status: int, message: str, **headers: str) -> tuple[int, dict, dict[str, str]]:
    return status, {"error": {"message": message, "type": "error", "code": None}}, headers


def compile_with(model: dspy.LM, **settings) -> dspy.Module:
    given = {"epochs": 1, "group_size": 3, "num_threads": 4, "display_progress": False, **settings}
    with dspy.context(lm=model):
        return TrainingFreeGRPO(exact, **given).compile(dspy.Predict(QA), examples(20))


def evaluate_with(model: dspy.LM, count: int = 4, **arguments):
    with dspy.context(lm=model):
        return evaluate(
            dspy.Predict(QA), examples(count), exact, k=1, num_threads=2, display_progress=False, **arguments
        )


def test_a_working_endpoint_is_scored_with_its_usage():
    with stub(lambda n: (200, OK, {})) as server:
        made = evaluate_with(lm(server.api_base))
    assert made.mean.value == 1.0
    assert server.requests == made.usage.lm_calls == 4
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (28, 12)
    assert server.keys == {"Bearer x"}


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_stops_at_once_with_the_providers_message_and_no_more_than_what_was_in_flight(status, retries):
    with stub(lambda n: failing(status, "Incorrect API key provided")) as server:
        with pytest.raises(RunStopped, match="Incorrect API key provided") as caught:
            compile_with(lm(server.api_base, num_retries=retries))
        assert 1 <= server.requests <= 4
    assert caught.value.result.steps == ()


def test_an_unknown_model_stops_at_once():
    missing = {"error": {"message": "The model `x` does not exist", "type": "invalid", "code": "model_not_found"}}
    with stub(lambda n: (404, missing, {})) as server:
        with pytest.raises(RunStopped, match=r"LMUnsupportedModelError.*does not exist"):
            compile_with(lm(server.api_base))
        assert 1 <= server.requests <= 4


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize(
    ("status", "said", "headers", "sentence"),
    [
        (400, "Unrecognized request argument supplied: best_of", {}, "best_of; take that option from the LM"),
        (307, "moved", {"Location": "http://u:p@x.test/v1?key=s"}, "redirects to http://x.test/v1; check api_base"),
        (302, "log in", {"Location": "/v1/elsewhere"}, "redirects to /v1/elsewhere; check api_base"),
        (422, "user and assistant roles should be alternating", {}, "with a chat template that takes system messages"),
    ],
)
def test_what_every_rollout_would_be_refused_for_is_sent_once_and_says_what_to_change(
    status, said, headers, sentence, engine
):
    with stub(lambda n: failing(status, said, **headers)) as server:
        with pytest.raises(RunStopped, match=re.escape(sentence)):
            compile_with(lm(server.api_base, engine=engine), num_threads=1)
        assert server.requests == 1


def test_a_rate_limit_is_waited_for_as_told_and_nothing_is_lost():
    def first_refused(n: int):
        return failing(429, "slow down", **{"Retry-After": "0.05"}) if n <= 2 else (200, OK, {})

    with stub(first_refused) as server:
        made = evaluate_with(lm(server.api_base, num_retries=3))
    assert made.mean.value == 1.0
    assert not made.lost
    assert server.requests == 4 + 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_still_fails_after_the_retries_is_lost_and_not_scored(status):
    def sometimes(n: int):
        return failing(status, "try later", **{"Retry-After": "0.01"}) if n <= 2 else (200, OK, {})

    with stub(sometimes) as server:
        made = evaluate_with(lm(server.api_base), count=6)
    assert dict(made.lost) == {"infrastructure": 2}
    assert made.mean.value == 1.0
    errors = [r.error for g in made.groups for r in g.rollouts if isinstance(r, Lost)]
    assert all("try later" in error for error in errors)


def test_an_endpoint_that_is_down_stops_the_run_after_the_tolerated_losses():
    with stub(lambda n: (200, OK, {})) as server:
        gone = server.api_base
    with pytest.raises(RunStopped, match=r"max_errors=5 examples went wrong.*x rollout lost \(infrastructure\)"):
        compile_with(lm(gone), max_errors=5)


def test_a_reply_that_is_no_completion_is_an_infrastructure_failure():
    with stub(lambda n: (200, {"hello": "world"}, {}) if n == 1 else (200, OK, {})) as server:
        made = evaluate_with(lm(server.api_base))
    assert sum(made.lost.values()) + made.policy_failures == 1
