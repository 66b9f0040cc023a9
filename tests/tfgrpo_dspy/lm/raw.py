"""An endpoint on loopback that writes what it likes, when it likes; and a watchdog for what must come to an end."""

from __future__ import annotations

import faulthandler
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import dspy

from tests.tfgrpo_dspy.lm.test_over_http import OK
from tests.tfgrpo_dspy.loopback import PATIENCE

Behaviour = Callable[[socket.socket, int, "Raw"], None]
"""Answers a connection's request, the n-th of all; what it raises ends the connection."""


class Raw:
    """The endpoint."""

    def __init__(self, behave: Behaviour) -> None:
        self.requests = 0
        self.closed = threading.Event()
        """That somebody hung up while being answered."""
        self.over = threading.Event()
        self._behave, self._lock = behave, threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/v1"

    def close(self) -> None:
        self.over.set()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                while read_request(connection):
                    with self._lock:
                        self.requests += 1
                        number = self.requests
                    self._behave(connection, number, self)
        except OSError:
            self.closed.set()


def read_request(connection: socket.socket) -> bytes:
    """The next request; empty when there is none."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(1 << 16)
        if not data:
            return b""
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(1 << 16)
    return body


@contextmanager
def raw(behave: Behaviour) -> Iterator[Raw]:
    server = Raw(behave)
    try:
        yield server
    finally:
        server.close()


def answer(connection: socket.socket, body: object = OK) -> None:
    """A proper reply."""
    payload = json.dumps(body).encode()
    connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(payload) + payload
    )


def silent(connection: socket.socket, number: int, server: Raw) -> None:
    """Never a byte."""
    server.over.wait()


def drips_its_body(connection: socket.socket, number: int, server: Raw) -> None:
    """A blank now and then, as hosts send that keep a queued request alive."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    while not server.over.wait(0.02):
        connection.sendall(b"1\r\n\n\r\n")


def drips_its_head(connection: socket.socket, number: int, server: Raw) -> None:
    """A header that grows by a letter now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-queue: ")
    while not server.over.wait(0.02):
        connection.sendall(b"x")


def drips_chunk_sizes(connection: socket.socket, number: int, server: Raw) -> None:
    """A chunk whose size is never whole, so that no client ever has a byte of the body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1;")
    while not server.over.wait(0.02):
        connection.sendall(b"x")


def never_ends(connection: socket.socket, number: int, server: Raw) -> None:
    """A body without end, as fast as it can be read."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while not server.over.is_set():
        connection.sendall(chunk)


def lm(server: Raw, **settings) -> dspy.LM:
    return dspy.LM("openai/x", api_base=server.api_base, api_key="x", **{"num_retries": 0, "cache": False, **settings})


@contextmanager
def watchdog(seconds: float = PATIENCE) -> Iterator[None]:
    """Ends the tests, every thread's stack shown, if this does not end: nothing else could tell a hang."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
