"""Servers that tests start on this machine, and waiting for what comes in its own time."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress

PATIENCE = 300.0
"""Seconds after which something that must come has not: far more than it takes, on however slow a machine."""


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition to hold.

    Raises:
        TimeoutError: It never does.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited for {PATIENCE:g} s in vain")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port below those that the system gives to connections: none takes it before the server does."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
