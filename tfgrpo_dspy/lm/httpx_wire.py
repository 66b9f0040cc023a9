"""A bound on the replies that LiteLLM reads: its requests, whatever the provider, go through `httpx.Client.send`."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from tfgrpo_dspy.lm.flight import FLIGHT, Flight

_JSON = {"content-type": "application/json"}


class _Counted(httpx.SyncByteStream):
    """A body that is looked at while it is read."""

    def __init__(self, stream: Any, flight: Flight) -> None:
        self._stream, self._flight = stream, flight

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._flight.left()
            self._flight.received(len(chunk))
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _ACounted(httpx.AsyncByteStream):
    """The same for coroutines."""

    def __init__(self, stream: Any, flight: Flight) -> None:
        self._stream, self._flight = stream, flight

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._flight.received(len(chunk))
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _is_asked(request: httpx.Request) -> bool:
    """Whether it is one to an LM; else something is fetched for one, such as an image of the prompt."""
    return request.method == "POST"


def _sets_out(flight: Flight | None, request: httpx.Request, kwargs: dict[str, Any]) -> httpx.Response | None:
    """A request is to go out; the reply, where that is known already."""
    if flight is None or not _is_asked(request):
        return None
    if flight.replay is not None:
        return httpx.Response(200, headers=_JSON, content=flight.replay, request=request)
    flight.asks()
    kwargs["follow_redirects"] = False
    return None


def _headed(flight: Flight, request: httpx.Request, response: httpx.Response) -> None:
    if _is_asked(request):
        flight.headed(response.status_code, response.headers.get("location"))


def counted_send(original: Any) -> Any:
    """`httpx.Client.send` that bounds the replies to requests of a run."""

    def send(self: httpx.Client, request: httpx.Request, *, stream: bool = False, **kwargs: Any) -> httpx.Response:
        flight = FLIGHT.get()
        if (known := _sets_out(flight, request, kwargs)) is not None:
            return known
        response: httpx.Response = original(self, request, stream=stream or flight is not None, **kwargs)
        if flight is None:
            return response
        response.stream = _Counted(response.stream, flight)
        try:
            _headed(flight, request, response)
            if not stream:
                flight.read(response.read())
        except BaseException:
            response.close()
            raise
        return response

    return send


def counted_asend(original: Any) -> Any:
    """`httpx.AsyncClient.send`, likewise."""

    async def send(
        self: httpx.AsyncClient, request: httpx.Request, *, stream: bool = False, **kwargs: Any
    ) -> httpx.Response:
        flight = FLIGHT.get()
        if (known := _sets_out(flight, request, kwargs)) is not None:
            return known
        response: httpx.Response = await original(self, request, stream=stream or flight is not None, **kwargs)
        if flight is None:
            return response
        response.stream = _ACounted(response.stream, flight)
        try:
            _headed(flight, request, response)
            if not stream:
                flight.read(await response.aread())
        except BaseException:
            await response.aclose()
            raise
        return response

    return send


_lock = threading.Lock()


def bound_replies() -> None:
    """From now on; requests of no run are let through as they are."""
    with _lock:
        if getattr(httpx.Client.send, "is_counted", False):
            return
        for client, counted in ((httpx.Client, counted_send), (httpx.AsyncClient, counted_asend)):
            send = counted(client.send)
            send.is_counted = True
            client.send = send  # type: ignore[method-assign]
