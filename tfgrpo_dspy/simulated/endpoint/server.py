"""The embedded LM behind an OpenAI-compatible HTTP endpoint, so that the real HTTP path can be exercised."""

from __future__ import annotations

import asyncio
import hmac
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dspy.lm15 import Config, Message, Request, Response

from tfgrpo_dspy.errors import MissingExtraError, SettingsError
from tfgrpo_dspy.simulated.endpoint.faults import FaultLog, commit
from tfgrpo_dspy.simulated.endpoint.prefix_cache import PrefixCache
from tfgrpo_dspy.simulated.engine import CHARACTERS_PER_TOKEN, MODEL, SimulatedEngine, text_of

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import JSONResponse
    from starlette.responses import Response as HttpResponse
    from uvicorn import Server

_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""

_START_SECONDS = 10.0
"""Longest wait for the server to listen."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a reply takes: always the median, or log-normal when a p99 is given.

    Raises:
        SettingsError: A negative median, or a p99 below the median.
    """

    median: float = 0.0
    """Seconds, >= 0; 0 answers at once."""
    p99: float | None = None
    """Seconds that 99% of the replies take at most, >= median; None for a fixed latency."""

    def __post_init__(self) -> None:
        if self.median < 0:
            raise SettingsError(f"median must be >= 0 seconds, got {self.median}")
        if self.p99 is not None and not 0 < self.median <= self.p99:
            raise SettingsError(f"p99 must be at least the median, which must be > 0; got {self.p99} and {self.median}")

    def draw(self, rng: random.Random) -> float:
        """Seconds for one reply."""
        if self.p99 is None:
            return self.median
        return self.median * math.exp(rng.gauss(0.0, math.log(self.p99 / self.median) / _Z99))


class Exchange(NamedTuple):
    """One chat completion, as the server saw it."""

    request: Request
    arrived: float
    """Reading of `time.monotonic` when the request was there; so is `answered`, when the reply was."""
    answered: float


def serve(
    port: int,
    host: str = "127.0.0.1",
    *,
    seed: int = 0,
    latency: Latency | None = None,
    api_key: str | None = None,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Serve the embedded LM until interrupted: `/v1/chat/completions`, `/v1/models`, `/health`.

    Args:
        port: TCP port; 0 takes a free one.
        host: Address to listen on.
        seed: Of the engine.
        latency: Of each reply; None for none.
        api_key: The key that callers must send; None accepts any.
        announce: Called when nothing is missing any more, right before the server listens.

    Raises:
        MissingExtraError: starlette or uvicorn is not installed.
    """
    server = _uvicorn_server(_app(_Endpoint(SimulatedEngine(seed), latency or Latency(), api_key)), host, port)
    announce()
    server.run()


@contextmanager
def running_server(
    *,
    seed: int = 0,
    latency: Latency | None = None,
    api_key: str | None = None,
    on_exchange: Callable[[Exchange], None] | None = None,
    faults: FaultLog | None = None,
) -> Iterator[str]:
    """Serve on a free loopback port from a thread; yields the base URL, e.g. `http://127.0.0.1:4711/v1`.

    Arguments and errors are those of `serve`; `on_exchange`, which must be quick, is told of every completion, and
    `faults` says which requests are to fail.
    """
    endpoint = _Endpoint(SimulatedEngine(seed), latency or Latency(), api_key, on_exchange, faults)
    server = _uvicorn_server(_app(endpoint), "127.0.0.1", 0, quiet=faults is not None)
    # asyncio sends without delay only where the protocol is named: else Nagle holds each reply back for 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="simulated-lm", daemon=True)
        thread.start()
        try:
            _await_start(server, thread)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join(_START_SECONDS)


def _await_start(server: Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start within {_START_SECONDS} s")
        time.sleep(0.005)


def _uvicorn_server(app: Starlette, host: str, port: int, *, quiet: bool = False) -> Server:
    try:
        import uvicorn
    except ImportError as error:
        raise _missing_extra() from error
    level = "critical" if quiet else "warning"
    config = uvicorn.Config(app, host=host, port=port, log_level=level, lifespan="off", timeout_graceful_shutdown=1)
    return uvicorn.Server(config)


def _app(endpoint: _Endpoint) -> Starlette:
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError as error:
        raise _missing_extra() from error
    routes = [
        Route("/v1/chat/completions", endpoint.complete, methods=["POST"]),
        Route("/v1/models", endpoint.models),
        Route("/health", endpoint.health),
    ]
    return Starlette(routes=routes)


def _missing_extra() -> MissingExtraError:
    return MissingExtraError("serving the embedded LM needs starlette and uvicorn: pip install 'tfgrpo-dspy[serve]'")


class _Endpoint:
    """The handlers of one server."""

    def __init__(
        self,
        engine: SimulatedEngine,
        latency: Latency,
        api_key: str | None,
        on_exchange: Callable[[Exchange], None] | None = None,
        faults: FaultLog | None = None,
    ) -> None:
        self._faults = faults
        self._engine, self._latency, self._api_key, self._on_exchange = engine, latency, api_key, on_exchange
        self._waits = random.Random(f"latency/{engine.seed}")
        self._prefixes = PrefixCache(CHARACTERS_PER_TOKEN)

    async def complete(self, http: HttpRequest) -> HttpResponse:
        """`POST /v1/chat/completions`."""
        arrived = time.monotonic()
        if refusal := self._refusal(http):
            return refusal
        try:
            body = await http.json()
            request, count = _canonical(body), int(body.get("n") or 1)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _error(400, f"the request cannot be read: {error}", "invalid_request_error", None)
        await asyncio.sleep(self._latency.draw(self._waits))
        responses = [self._engine.complete(request) for _ in range(count)]
        completion = _completion(request.model, responses, self._prefixes.read(text_of(request)))
        if self._faults is not None and (fault := self._faults.draw()) is not None:
            broken: HttpResponse = await commit(fault, completion)
            return broken
        reply = _json(completion)
        if self._on_exchange is not None:
            self._on_exchange(Exchange(request, arrived, time.monotonic()))
        return reply

    async def models(self, http: HttpRequest) -> JSONResponse:
        """`GET /v1/models`."""
        name = MODEL.split("/")[1]
        return self._refusal(http) or _json(
            {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "tfgrpo-dspy"}]}
        )

    async def health(self, http: HttpRequest) -> JSONResponse:
        """`GET /health`."""
        return _json({"status": "ok"})

    def _refusal(self, http: HttpRequest) -> JSONResponse | None:
        sent = http.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if self._api_key is None or hmac.compare_digest(sent, self._api_key.encode()):
            return None
        return _error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")


def _json(body: Mapping[str, Any], status: int = 200) -> JSONResponse:
    from starlette.responses import JSONResponse

    return JSONResponse(body, status_code=status)


def _error(status: int, message: str, kind: str, code: str | None) -> JSONResponse:
    return _json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


def _canonical(body: Mapping[str, Any]) -> Request:
    """The canonical request of an OpenAI chat request; ValueError, TypeError or KeyError for a malformed one."""
    if body.get("stream"):
        raise ValueError("streaming is not offered here")
    messages = [(m["role"], _content(m.get("content"))) for m in body["messages"]]
    system = "\n".join(text for role, text in messages if role in ("system", "developer"))
    turns = tuple(
        Message.assistant(text or " ") if role == "assistant" else Message.user(text or " ")
        for role, text in messages
        if role not in ("system", "developer")
    )
    config = Config(
        temperature=body.get("temperature"),
        seed=body.get("seed"),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        response_format=_response_format(body.get("response_format")),
    )
    return Request(model=body["model"], messages=turns, system=system or None, config=config)


def _content(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return "" if content is None else str(content)


def _response_format(asked: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if asked is None or asked.get("type") == "text":
        return None
    if asked["type"] == "json_schema":
        return {"type": "json_schema", "schema": asked["json_schema"]["schema"]}
    return {"type": "json_object"}


def _completion(model: str, responses: list[Response], cached: int) -> dict[str, Any]:
    """The body of an OpenAI chat completion."""
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": response.message.text},
            "finish_reason": response.finish_reason,
            "logprobs": None,
        }
        for i, response in enumerate(responses)
    ]
    read = responses[0].usage.input_tokens or 0
    written = sum(response.usage.output_tokens or 0 for response in responses)
    return {
        "id": f"chatcmpl-{random.getrandbits(64):016x}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": min(cached, read)},
        },
    }
