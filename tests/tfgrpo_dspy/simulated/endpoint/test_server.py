from __future__ import annotations

import json
import math
import random
import sys
import threading
import urllib.error
import urllib.request
from statistics import median

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError

from tests.tfgrpo_dspy.loopback import PATIENCE
from tfgrpo_dspy.errors import MissingExtraError, SettingsError
from tfgrpo_dspy.simulated import Latency, demo_examples, running_server, serve, simulated_lm
from tfgrpo_dspy.simulated.endpoint import server as server_module

EXAMPLE = demo_examples(1, 4)[0]


@pytest.fixture(scope="module")
def url():
    with running_server(seed=0) as base:
        yield base


def call(url, body=None, key=None):
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def chat(**more):
    return {"model": "simulated", "messages": [{"role": "user", "content": EXAMPLE.question}], "seed": 1, **more}


@pytest.mark.parametrize("engine", ["auto", pytest.param("litellm", marks=pytest.mark.slow)])
@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_dspy_gets_over_http_what_the_engine_says_directly(url, engine, adapter):
    remote = dspy.LM("openai/frozen-lm", api_base=url, api_key="x", engine=engine, seed=3, temperature=0.7, cache=False)
    program = dspy.ChainOfThought("question -> answer")
    with dspy.context(lm=remote, adapter=adapter):
        over_http = program(question=EXAMPLE.question)
    assert over_http.reasoning.startswith("Here ")
    assert remote.history[-1]["usage"]["completion_tokens"] > 0
    if isinstance(adapter, dspy.ChatAdapter):
        with dspy.context(lm=simulated_lm(temperature=0.7, cache=False).copy(seed=3), adapter=adapter):
            assert program(question=EXAMPLE.question).toDict() == over_http.toDict()


@pytest.mark.parametrize("engine", ["auto", pytest.param("litellm", marks=pytest.mark.slow)])
def test_a_wrong_key_is_an_authentication_error(engine):
    with running_server(api_key="right") as base:
        wrong = dspy.LM("openai/frozen-lm", api_base=base, api_key="wrong", engine=engine, cache=False)
        with pytest.raises(LMAuthError, match="Incorrect API key"):
            wrong("hello")
        status, body = call(f"{base}/chat/completions", chat())
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert call(f"{base}/models", key="right")[0] == 200


def test_a_completion_looks_like_openais(url):
    status, body = call(f"{url}/chat/completions", chat())
    assert status == 200
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert body["model"] == "simulated"


def test_models_and_health_are_offered(url):
    assert call(f"{url}/models")[1]["data"][0]["id"] == "frozen-lm"
    assert call(url.replace("/v1", "/health")) == (200, {"status": "ok"})


def test_the_seed_of_the_body_decides(url):
    def reply(seed):
        return call(f"{url}/chat/completions", chat(seed=seed, temperature=0.7))[1]["choices"][0]["message"]["content"]

    replies = [reply(seed) for seed in range(12)]
    assert len(set(replies)) > 1
    assert replies == [reply(seed) for seed in range(12)]


def test_several_choices_system_messages_and_content_parts_are_understood(url):
    parts = [{"type": "text", "text": EXAMPLE.question}]
    messages = [
        {"role": "system", "content": "Solve it."},
        {"role": "assistant", "content": None},
        {"role": "user", "content": parts},
    ]
    _, body = call(f"{url}/chat/completions", {"model": "m", "messages": messages, "n": 3})
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]


@pytest.mark.parametrize(
    "format_",
    [
        {"type": "json_object"},
        {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"answer": {"type": "number"}}}},
        },
    ],
)
def test_a_response_format_is_followed(url, format_):
    _, body = call(f"{url}/chat/completions", chat(response_format=format_))
    assert "answer" in json.loads(body["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"model": "m", "messages": []},
        {"model": "m", "messages": [{"role": "user"}], "stream": True},
        chat(temperature="hot"),
    ],
)
def test_a_malformed_request_is_refused_with_an_error_body(url, body):
    status, reply = call(f"{url}/chat/completions", body)
    assert status == 400
    assert reply["error"]["type"] == "invalid_request_error"


def test_a_fixed_latency_is_the_same_for_every_reply():
    assert {Latency(0.2).draw(random.Random(seed)) for seed in range(5)} == {0.2}


def test_a_latency_is_waited_for_without_holding_up_others():
    answered, drawn = [], threading.Event()

    def ask(name: str) -> None:
        call(f"{base}/chat/completions", chat())
        answered.append(name)

    class FirstIsSlow(Latency):
        def draw(self, rng: random.Random) -> float:
            is_first = not drawn.is_set()
            drawn.set()
            return 1.5 if is_first else 0.0

    with running_server(latency=FirstIsSlow(0.0)) as base:
        slow = threading.Thread(target=ask, args=("slow",))
        slow.start()
        assert drawn.wait(PATIENCE)
        ask("quick")
        slow.join()
    assert answered == ["quick", "slow"]


def test_a_lognormal_latency_has_the_median_and_p99_asked_for():
    rng = random.Random(0)
    drawn = sorted(Latency(2.0, 10.0).draw(rng) for _ in range(20_000))
    assert math.isclose(median(drawn), 2.0, rel_tol=0.05)
    assert math.isclose(drawn[int(0.99 * len(drawn))], 10.0, rel_tol=0.1)
    assert Latency().draw(rng) == 0.0


@pytest.mark.parametrize(("seconds", "p99"), [(-1.0, None), (2.0, 1.0), (0.0, 1.0)])
def test_an_impossible_latency_is_refused(seconds, p99):
    with pytest.raises(SettingsError):
        Latency(seconds, p99)


@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_without_the_extra_the_error_names_it(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tfgrpo-dspy\[serve\]'"):
        serve(0)


def test_serving_in_the_foreground_runs_the_same_app(monkeypatch):
    ran = []
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets=None: ran.append(server.config.port))
    serve(4711, seed=1, latency=Latency(0.1), api_key="k")
    assert ran == [4711]


def test_a_server_that_dies_at_once_is_reported(monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets=None: None)
    with pytest.raises(RuntimeError, match="did not start"), running_server():
        pass
    assert server_module.MODEL == "simulated/frozen-lm"
