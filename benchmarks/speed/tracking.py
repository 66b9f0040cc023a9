"""What MLflow costs a run: the demo's loop untracked, and recorded by a real server behind a proxy that is slow.

The proxy adds a delay to every request, as a server on another continent does. The clock stops when learning is over
(`RunFinished`); how long the end of the run then waits for its records is shown besides. Peak memory is this process's.

Example: python -m benchmarks.speed.tracking --delay 0.2 --repeats 3
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import dspy

from benchmarks.common import Figures, Target, peak_memory, progress, report
from benchmarks.speed.overhead import correct
from tfgrpo_dspy import Event, MLflowTracking, TrainingFreeGRPO
from tfgrpo_dspy.records.events import RunFinished
from tfgrpo_dspy.simulated import SimulatedEngine, demo_examples
from tfgrpo_dspy.simulated.student import make_solver

MOST = 1.25
"""Learning, tracked / untracked: 4 s against 3.2 s."""


class Proxy(ThreadingHTTPServer):
    """Hands every request on after a delay, and counts them.

    Args:
        port: Of the server behind it, on this machine.
        delay: Seconds.
    """

    daemon_threads = True

    def __init__(self, port: int, delay: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.delay, self.requests = port, delay, 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Of itself."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.requests += 1
        time.sleep(self.server.delay)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _hand_on  # noqa: N815 - the standard library's names

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def slow_server(folder: Path, delay: float) -> Iterator[Proxy]:
    """A real `mlflow server` on SQLite with an artifact proxy, behind a proxy that delays."""
    port = _free_port()
    store = ["--backend-store-uri", f"sqlite:///{folder}/team.db", "--artifacts-destination", f"{folder}/team"]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port), "--workers", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(command, cwd=folder, env=environment, **quiet)  # type: ignore[call-overload]
    try:
        _wait_for(port)
        with Proxy(port, delay) as proxy:
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            yield proxy
            proxy.shutdown()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the tracking server did not start")


class Clock:
    """An observer that notes when learning was over."""

    def __init__(self) -> None:
        self.began, self.learned = time.monotonic(), 0.0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunFinished):
            self.learned = time.monotonic() - self.began


class Timed(MLflowTracking):
    """One that knows for how long it held up the loop, which is what a slow server could cost it."""

    held_up = 0.0

    def check(self) -> None:  # noqa: D102
        began = time.monotonic()
        super().check()
        self.held_up += time.monotonic() - began

    def __call__(self, event: Event) -> None:  # noqa: D102
        began = time.monotonic()
        super().__call__(event)
        if not isinstance(event, RunFinished):
            self.held_up += time.monotonic() - began


class Took(NamedTuple):
    """Seconds."""

    learning: float
    all: float
    held_up: float
    """Of learning, in calls of the observer."""


def run_once(tracking: Timed | None, problems: int, epochs: int) -> Took:
    """The loop on the embedded LM."""
    clock = Clock()
    given = {"tracking": tracking or False, "observers": [clock]}
    optimizer = TrainingFreeGRPO(correct, epochs=epochs, num_threads=8, seed=0, display_progress=False, **given)
    lm = dspy.LM("simulated/frozen", engine=SimulatedEngine(), cache=False)
    clock.began = time.monotonic()
    with dspy.context(lm=lm):
        learned = optimizer.compile(make_solver(), demo_examples(problems, seed=0), valset=demo_examples(10, seed=1))
    if learned.detailed_results.unrecorded:
        raise RuntimeError(f"not recorded: {learned.detailed_results.unrecorded}")
    held_up = tracking.held_up if tracking is not None else 0.0
    return Took(clock.learned, time.monotonic() - clock.began, held_up)


def measure(name: str, turns: Sequence[Took], requests: float) -> Mapping[str, object]:
    """A line of the table."""
    return {
        "recorded": name,
        "learning, s": round(median(turn.learning for turn in turns), 2),
        "of it held up, s": round(median(turn.held_up for turn in turns), 2),
        "waiting at the end, s": round(median(turn.all - turn.learning for turn in turns), 2),
        "requests": round(requests),
        "peak MB": round(peak_memory()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit code says whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds added to each request (default: 0.2)")
    parser.add_argument("--problems", type=int, default=30, help="(default: 30)")
    parser.add_argument("--epochs", type=int, default=3, help="steps (default: 3)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turns (default: 3)")
    options = parser.parse_args(arguments)
    size = options.problems, options.epochs
    untracked, tracked = [], []
    with TemporaryDirectory() as folder, slow_server(Path(folder), options.delay) as proxy:
        run_once(Timed("warm", tracking_uri=proxy.url), *size)  # imports, and a new store's first contact
        before = proxy.requests
        for turn in range(options.repeats):
            progress(f"turn {turn + 1} of {options.repeats} ...")
            untracked.append(run_once(None, *size))
            tracked.append(run_once(Timed("slow", tracking_uri=proxy.url), *size))
        requests = (proxy.requests - before) / options.repeats
    rows = [measure("not", untracked, 0), measure(f"{1000 * options.delay:.0f} ms a request", tracked, requests)]
    ratio = median(turn.learning for turn in tracked) / median(turn.learning for turn in untracked)
    return report(
        "tracking", [Figures("A run and its tracking server", rows)], [Target("tracked / untracked", ratio, MOST)]
    )


if __name__ == "__main__":
    sys.exit(main())
