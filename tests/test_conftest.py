"""The guards of conftest.py hold."""

from __future__ import annotations

import asyncio
import os
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import dspy
import pytest

ABROAD = ("192.0.2.1", 443)  # reserved for documentation: routed nowhere
ABROAD_V6 = ("2001:db8::1", 443, 0, 0)
REFUSED = pytest.fail.Exception


def over_ipv6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sender:
        sender.connect(ABROAD_V6)


def without_raising() -> None:
    with socket.socket() as sender:
        sender.connect_ex(ABROAD)


def over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", ABROAD)


def over_asyncio() -> None:
    asyncio.run(asyncio.wait_for(asyncio.open_connection(*ABROAD), 5))


def from_a_worker_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(socket.create_connection, ABROAD).result()


WAYS_OUT = [
    lambda: socket.create_connection(ABROAD),
    over_ipv6,
    without_raising,
    over_udp,
    over_asyncio,
    from_a_worker_thread,
    lambda: urllib.request.urlopen("http://example.org"),
    lambda: socket.getaddrinfo("example.org", 443),
]


@pytest.mark.parametrize("leave", WAYS_OUT)
def test_no_way_leads_out_of_the_machine(leave, only_loopback):
    with pytest.raises(REFUSED, match="serve a loopback endpoint"):
        leave()
    assert only_loopback
    only_loopback.clear()


def test_code_that_survives_every_exception_does_not_swallow_the_guard(only_loopback):
    def answer():
        try:
            socket.create_connection(ABROAD)
        except Exception:  # noqa: BLE001 - as a harness around student code does
            return "infrastructure"

    with pytest.raises(REFUSED):
        answer()
    only_loopback.clear()


def test_loopback_is_open():
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        Thread(target=server.handle_request, daemon=True).start()
        with urllib.request.urlopen(f"http://localhost:{server.server_port}", timeout=5) as reply:
            assert reply.read() == b"hello"


@pytest.mark.parametrize("turn", [1, 2])
def test_settings_and_environment_of_one_test_do_not_reach_the_next(turn):
    assert dspy.settings.lm is None
    assert "TFGRPO_TURN" not in os.environ
    os.environ["TFGRPO_TURN"] = str(turn)
    with ThreadPoolExecutor(1) as pool:  # which then owns DSPy's settings
        pool.submit(dspy.configure, lm=f"of turn {turn}", num_threads=turn).result()


def test_nothing_of_this_user_or_this_repository_is_written_to():
    repository = Path(__file__).parents[1]
    assert not dspy.cache.enable_disk_cache
    assert repository not in [Path.cwd(), *Path.cwd().parents]
    assert "tfgrpo-tests-" in str(Path.home())
