"""Connections that go to the checked address and nowhere else, and end in time.

A name is resolved once, where the connection is made: what was checked is what is connected to, so a name that
resolves differently the second time (DNS rebinding) gains nothing. TLS still verifies the host's name.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

import httpcore
import httpx

from programs.web_tools.errors import WebError
from programs.web_tools.fetching.addresses import AddressRules

__all__ = ["CheckedBackend", "CheckedTransport", "Deadline", "Resolver", "system_resolver"]

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""Host and port to IP addresses; raises OSError where there are none."""

_MOST_TRIED = 3  # addresses of one host


def system_resolver(host: str, port: int) -> list[str]:
    """The operating system's answer, in its order.

    Raises:
        OSError: There is none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Deadline:
    """A moment by which everything must be over.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def within(self, timeout: float | None) -> float:
        """The shorter of a time limit and what is left, in seconds.

        Raises:
            httpcore.ReadTimeout: Nothing is left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the total time is over")
        return left if timeout is None else min(timeout, left)


class CheckedBackend(httpcore.NetworkBackend):
    """Opens connections to addresses that the rules allow, until the deadline."""

    def __init__(self, rules: AddressRules, deadline: Deadline, resolve: Resolver = system_resolver) -> None:
        self._rules, self._deadline, self._resolve = rules, deadline, resolve
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, and connect to exactly what was checked.

        Raises:
            WebError: The host is unknown, or one of its addresses is forbidden.
        """
        failure: Exception = WebError(f"{host} has no address")
        for address in self._checked(host, port)[:_MOST_TRIED]:
            try:
                stream = self._backend.connect_tcp(
                    address, port, self._deadline.within(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Refused."""
        raise WebError("a socket file cannot be opened")

    def sleep(self, seconds: float) -> None:
        """Wait, which httpcore does between retries."""
        time.sleep(self._deadline.within(seconds))

    def _checked(self, host: str, port: int) -> list[str]:
        try:
            found = [host] if _is_literal(host) else list(self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise WebError(f"there is no host {host}; check the address or search for the page") from error
        for address in found:
            self._rules.check_address(host, port, ipaddress.ip_address(address))
        return found


class _TimedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class CheckedTransport(httpx.BaseTransport):
    """httpx on such connections: no proxy, none kept alive."""

    def __init__(self, backend: CheckedBackend) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(), network_backend=backend, max_keepalive_connections=0, retries=0
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        target = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        asked = httpcore.Request(request.method, target, headers=request.headers.raw, extensions=request.extensions)
        answered = self._pool.handle_request(asked)
        return httpx.Response(answered.status, headers=answered.headers, stream=_Body(answered))

    def close(self) -> None:
        """Close what is open."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.stream  # type: ignore[misc]

    def close(self) -> None:
        self._response.close()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
