"""The endpoint, which counts and can go away, and children that start at once because everything is imported."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.soak.scenarios import Scenario, run_command
from tfgrpo_dspy.simulated.endpoint.faults import FaultLog, Faults
from tfgrpo_dspy.simulated.endpoint.server import Exchange, Latency, running_server

LATENCY = 0.02
"""Seconds of a reply: long enough that several calls are in flight whenever something happens."""
_PATIENCE = 600.0
"""Seconds after which a child that should have ended is said to hang."""
_TICK = 0.002
DONE, REFUSED, WAITING, UNUSED, AWAY, INTERRUPTED, TERMINATED = 0, 2, 4, 6, 7, 130, 143
"""Exit codes of `tfgrpo`."""

_PRELOADED = (
    "benchmarks.soak.scenarios",
    "evals.compare.command",
    "tfgrpo_dspy.cli.app",
    "tfgrpo_dspy.cli.compile",
    "tfgrpo_dspy.gates.holdout",
    "tfgrpo_dspy.credit.of_run",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
    "programs.math_world",
)
_SERVED = multiprocessing.get_context("forkserver")
_SERVED.set_forkserver_preload(list(_PRELOADED))


class Endpoint(FaultLog):
    """What the server is told of each request, and what it tells."""

    def __init__(self) -> None:
        super().__init__(Faults(), seed=0)
        self.url = ""
        self.answered = 0
        """Requests that got an answer, which is paid for."""
        self.away_with: str | None = None
        """The fault of every request, while it is away."""

    def draw(self) -> str | None:
        """The fault of the next request."""
        return self.away_with

    def count(self, exchange: Exchange) -> None:
        """Take one answer."""
        self.answered += 1

    @contextmanager
    def away(self, fault: str) -> Iterator[None]:
        """Within it, no request is answered."""
        self.away_with = fault
        try:
            yield
        finally:
            self.away_with = None


@contextmanager
def serving() -> Iterator[Endpoint]:
    """The simulated LM on loopback."""
    endpoint = Endpoint()
    with running_server(latency=Latency(LATENCY), faults=endpoint, on_exchange=endpoint.count) as endpoint.url:
        yield endpoint


class Hung(Exception):
    """A child did not end when it should have."""


class Child:
    """A process of `tfgrpo`, started at once.

    Args:
        scenario: Its command.
        url: Of the endpoint.
        folder: Where it works; what it says is in `said.log`.
        more: Further arguments.
    """

    def __init__(self, scenario: Scenario, url: str, folder: Path, *more: str) -> None:
        arguments = [*scenario.command(url), *more]
        self.process: BaseProcess = _SERVED.Process(target=run_command, args=(arguments, str(folder)))
        self.process.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self.process.exitcode is not None

    def wait_for(self, happened: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        """Until something happened or the process has ended.

        Raises:
            Hung: Neither did.
        """
        deadline = time.monotonic() + seconds
        while not happened() and not self.has_ended:
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.join()
                raise Hung(f"nothing happened within {seconds:g} s")
            time.sleep(_TICK)

    def ends(self, seconds: float = _PATIENCE) -> int:
        """Its exit code, once it has ended; minus the number of the signal that ended it.

        Raises:
            Hung: It did not end.
        """
        self.wait_for(lambda: False, seconds)
        assert self.process.exitcode is not None
        return self.process.exitcode
