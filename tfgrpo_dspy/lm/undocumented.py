"""All that a run needs of DSPy beyond its documented contracts; a test per name says what to do when DSPy moves it.

- Connections with an end: a deadline over connecting, headers and body, and a bound on the body. DSPy's native engine
  takes a transport through its public `RouterConfig`; the ones here are its own, with sockets that look at the
  request's `Flight` at each read, and replies that can be read once more.
- Prices, which a cap in US dollars needs before the first call, and context windows.
- The list of prices, which DSPy looks through for each reply: of a model that is not on it, for longer than all else
  that a call takes of it.
- Which models take no temperature but their own.
- The engines that an LM was given.
- The marks around what is no text in DSPy's texts.
- What a program keeps in its file besides predictors.
- The list of the last 10 000 calls, with their prompts, which only `disable_history` bounds.
- The progress bars of other threads, which `dspy.Parallel` forgets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from weakref import WeakSet

import dspy
from dspy._vendor.lm15.transports import (
    AsyncTransportResponse,
    StdlibAsyncTransport,
    StdlibTransport,
    TransportRequest,
    TransportResponse,
)
from dspy.adapters.types.base_type import CUSTOM_TYPE_END_IDENTIFIER, CUSTOM_TYPE_START_IDENTIFIER
from dspy.clients import base_lm, costs
from dspy.clients.capabilities import resolve
from dspy.clients.costs import estimate_cost
from dspy.clients.model_metadata import model_info, rate
from dspy.lm15 import LM15Error, Request, Response
from dspy.predict.parameter import Parameter
from dspy.utils.exceptions import LMConfigurationError, LMError
from dspy.utils.parallelizer import tqdm

from tfgrpo_dspy.lm.budget import Price
from tfgrpo_dspy.lm.flight import FLIGHT, Flight, shut

CONTENT_BEGINS, CONTENT_ENDS = CUSTOM_TYPE_START_IDENTIFIER, CUSTOM_TYPE_END_IDENTIFIER
"""What stands around images, audio and files where DSPy has them as text."""
MOST_CONNECTIONS = 100_000
"""No bound of its own: the run bounds its calls."""
_NOT_THEIRS = 0.7
"""A temperature that models which take their own only refuse."""
_NEAR = 0.02
"""Share of a deadline by which a socket's may be off: to set it lets every other thread go first, at each read."""


class Saved(Parameter):
    """A part of a program that `save` writes, by its `dump_state` and `load_state`, as it does with predictors."""


def forget_calls_before(last: int) -> None:
    """Of the calls that `dspy.inspect_history` can show, keep so many: their prompts are most of a long run's memory.

    A DSPy that keeps them elsewhere keeps more of them, and that is all.
    """
    del getattr(base_lm, "GLOBAL_HISTORY", [])[:-last]


class _Bars(WeakSet[Any]):
    """Progress bars, of which one that is forgotten already may be taken out: `dspy.Parallel` forgets all there are.

    Else one that another thread just makes raises a KeyError, for which a rollout would be scored.
    """

    remove = WeakSet.discard


def keep_bars_apart() -> None:
    """From now on, `dspy.Parallel` may be used in several threads."""
    bars = getattr(tqdm.tqdm, "_instances", ())
    if not isinstance(bars, _Bars):
        tqdm.tqdm._instances = _Bars(bars)


class _Socket:
    """A socket whose reads are those of the request under way."""

    __slots__ = ("_patience", "_set", "_socket", "flight")

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._patience: float | None = None
        self._set: float | None = socket.gettimeout()
        self.flight: Flight | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._patience = seconds

    def recv(self, size: int) -> bytes:
        flight = self.flight
        if flight is None:
            self._bound(self._patience)
            received: bytes = self._socket.recv(size)
            return received
        left = flight.left()
        self._bound(left if self._patience is None else min(left, self._patience))
        try:
            received = self._socket.recv(size)
        except TimeoutError:
            if self._patience is None or left <= self._patience:
                raise flight.over(flight.late()) from None
            raise
        flight.received(len(received))
        return received

    def sendall(self, data: bytes) -> None:
        left = None if self.flight is None else self.flight.left()
        known = [seconds for seconds in (left, self._patience) if seconds is not None]
        self._bound(min(known, default=None))
        self._socket.sendall(data)

    def _bound(self, seconds: float | None) -> None:
        """The socket's own deadline, unless it is nearly that already."""
        is_near = seconds is not None and self._set is not None and abs(self._set - seconds) <= _NEAR * seconds
        if not is_near and self._set != seconds:
            self._socket.settimeout(seconds)
            self._set = seconds

    def end(self, flight: Flight) -> None:
        if self.flight is flight:  # else it is another request's by now
            shut(self._socket)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class Transport(StdlibTransport):
    """DSPy's transport, bound to the flight of the thread that asks."""

    def stream(self, request: TransportRequest) -> TransportResponse:
        """Open a stream."""
        flight = FLIGHT.get()
        if flight is None:
            return super().stream(request)
        if flight.replay is not None:
            return TransportResponse(
                status=200, reason="OK", headers=[], http_version="1.1", chunks=iter([flight.replay]), release=_nothing
            )
        request.connect_timeout = min(flight.left(), self._connect_timeout)
        response = super().stream(request)
        try:
            flight.headed(response.status, _header(response, "location"))
        except BaseException:
            response.close()
            raise
        response._chunks = _kept(response._chunks, flight)
        return response

    def _open(self, *args: Any, **kwargs: Any) -> Any:
        connection = super()._open(*args, **kwargs)
        connection.sock = _Socket(connection.sock)
        return connection

    def _send_request(self, conn: Any, *args: Any, **kwargs: Any) -> None:
        conn.sock.flight = flight = FLIGHT.get()
        if flight is not None:
            flight.ended_by(partial(conn.sock.end, flight))
        super()._send_request(conn, *args, **kwargs)


class AsyncTransport(StdlibAsyncTransport):
    """The same for coroutines, which are cancelled when their time is up."""

    async def _do_stream(self, request: TransportRequest) -> AsyncTransportResponse:
        flight = FLIGHT.get()
        if flight is None:
            return await super()._do_stream(request)
        if flight.replay is not None:
            return AsyncTransportResponse(
                status=200,
                reason="OK",
                headers=[],
                http_version="1.1",
                chunks=_once(flight.replay),
                release=_anothing,
            )
        response = await super()._do_stream(request)
        try:
            flight.headed(response.status, _header(response, "location"))
        except BaseException:
            await response.aclose()
            raise
        response._chunks = _akept(response._chunks, flight)
        return response


def _header(response: Any, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name), None)


def _kept(chunks: Iterator[bytes], flight: Flight) -> Iterator[bytes]:
    for chunk in chunks:
        flight.body.append(chunk)
        yield chunk
    flight.is_whole = True


async def _akept(chunks: AsyncIterator[bytes], flight: Flight) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        flight.received(len(chunk))
        flight.body.append(chunk)
        yield chunk
    flight.is_whole = True


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


def _nothing(_: bool) -> None: ...


async def _anothing(_: bool) -> None: ...


# Prices.

PRICE_LIST = costs, "model_info"
"""Where DSPy looks what a reply's model costs."""


def remembered(look_up: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with one look for each model; what it finds is only read."""
    return lru_cache(maxsize=256)(look_up)


@dataclass(frozen=True, slots=True)
class Pricing:
    """Where the price of a model is to be found."""

    provider: str
    model: str

    @property
    def rates(self) -> Price | None:
        """US dollars per million tokens of input, output and cached input; None if DSPy does not know them."""
        return _rates(self.provider, self.model)

    def cost_of(self, request: Request, response: Response) -> float | None:
        """US dollars of a reply, by what it reports."""
        if self.rates is None:
            return None
        cost: float | None
        cost, _ = estimate_cost(response, provider=self.provider, requested_model=self.model, request=request)
        return cost


@lru_cache(maxsize=256)
def _rates(provider: str, model: str) -> Price | None:
    info = model_info(provider, model)
    read, written = rate(info, "input_cost_per_token"), rate(info, "output_cost_per_token")
    if read is None or written is None:
        return None
    cached = rate(info, "cache_read_input_token_cost")
    return (1e6 * read, 1e6 * written) if cached is None else (1e6 * read, 1e6 * written, 1e6 * cached)


def price_of(lm: dspy.BaseLM) -> Price | None:
    """US dollars per million input and output tokens; None if DSPy does not know them."""
    if not isinstance(getattr(lm, "engine", None), str):
        return None
    try:
        route = resolve(lm)
    except (LM15Error, LMError):
        return None
    return _rates(route.provider, route.model)


def window_of(lm: dspy.BaseLM) -> int | None:
    """Tokens of a prompt at most; None if DSPy does not know them, as of a server of one's own."""
    if not isinstance(getattr(lm, "engine", None), str):
        return None
    try:
        route = resolve(lm)
    except (LM15Error, LMError):
        return None
    tokens = model_info(route.provider, route.model).get("max_input_tokens")
    return tokens if isinstance(tokens, int) and tokens > 0 else None


# Temperatures.


def keeps_its_temperature(lm: dspy.BaseLM) -> bool:
    """Whether its model takes no temperature but its own: OpenAI's reasoning models, and Claude while it thinks."""
    thinking = lm.kwargs.get("thinking")
    is_thinking = isinstance(thinking, Mapping) and thinking.get("type") in {"enabled", "adaptive"}
    return is_thinking or _is_refused_by_dspy(lm.model)


@lru_cache(maxsize=256)
def _is_refused_by_dspy(model: str) -> bool:
    """DSPy makes no LM of such a model with another temperature, and so knows them by name."""
    try:
        dspy.LM(model, temperature=_NOT_THEIRS)
    except LMConfigurationError as error:
        return "temperature" in str(error)
    except Exception:  # noqa: BLE001 - a name that is none of DSPy's
        return False
    return False


# Engines.


def engines_of(lm: object) -> list[Any]:
    """The engines that an LM was given in place of DSPy's own; of `DummyLM`, its own."""
    given = [getattr(lm, name, None) for name in ("_engine_spec", "_async_engine_spec")]
    return [engine for engine in given if engine is not None and not isinstance(engine, str)]
