"""The simulated LM on loopback in a process of its own, with long-tailed latency and a log of what it served."""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import NamedTuple

import dspy

from tfgrpo_dspy.simulated.endpoint.server import Exchange, Latency, running_server
from tfgrpo_dspy.simulated.prompt import read_prompt

BLOCK = 100
"""Replies in which each latency quantile occurs once."""


class Served(NamedTuple):
    """A line of the server's log."""

    kind: str
    """`rollout`, `summary`, `extraction`, `revision` (of a lesson) or `update`."""
    task: str
    """What it was about: the problem's inputs; empty for an update."""
    start: float
    """Seconds of a clock that only grows."""
    end: float

    @property
    def seconds(self) -> float:
        """The service time, as the server measured it."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Stratified(Latency):
    """A log-normal latency drawn without luck: every block of `BLOCK` replies has each of its quantiles once.

    Independent draws hang a whole run on a single reply: of 9000, the slowest takes 20 s or 40 s.
    """

    _left: list[float] = field(default_factory=list, init=False, repr=False, compare=False)

    def draw(self, rng: random.Random) -> float:
        """Seconds for one reply."""
        if not self._left:
            self._left.extend(_quantiles(self.median, self.p99 or self.median))
            rng.shuffle(self._left)
        return self._left.pop()


def _quantiles(median: float, p99: float) -> list[float]:
    sigma = math.log(p99 / median) / NormalDist().inv_cdf(0.99)
    return [median * math.exp(sigma * NormalDist().inv_cdf((i + 0.5) / BLOCK)) for i in range(BLOCK)]


class Endpoint:
    """A server under way in another process.

    Args:
        url: Its base URL.
        log: Where it writes its log when it ends.
        process: What it runs in.
    """

    def __init__(self, url: str, log: Path, process: subprocess.Popen[str]) -> None:
        self.url = url
        self._log, self._process = log, process

    def stop(self) -> list[Served]:
        """End the server; returns its log, in order of arrival."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return sorted((Served(**json.loads(line)) for line in lines), key=lambda served: served.start)


@contextmanager
def endpoint(*, median: float = 0.0, p99: float | None = None, independent: bool = False) -> Iterator[Endpoint]:
    """A server with that latency (seconds; a p99 makes it log-normal), ended with the block."""
    given = [f"--median={median}", *([f"--p99={p99}"] if p99 else []), *(["--independent"] if independent else [])]
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        command = [sys.executable, "-m", "benchmarks.speed.endpoint", *given, f"--log={log}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield Endpoint(process.stdout.readline().strip(), log, process)


def main() -> None:
    """Serve until stdin ends, then write the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--median", type=float, default=0.0)
    parser.add_argument("--p99", type=float)
    parser.add_argument("--independent", action="store_true")
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    kind = Stratified if options.p99 and not options.independent else Latency
    exchanges: list[Exchange] = []
    with running_server(latency=kind(options.median, options.p99), on_exchange=exchanges.append) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        sys.stdin.read()
    with options.log.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(_served(exchange)._asdict()) + "\n" for exchange in exchanges)


def _served(exchange: Exchange) -> Served:
    """What an exchange was for, told from the fields that its prompt asks for."""
    prompt = read_prompt(exchange.request)
    asked = {output.name for output in prompt.outputs}
    kinds = {**dict.fromkeys(("operations", "decision", "holds"), "update"), "revised": "revision"}
    kinds |= {"comparison": "extraction", "summary": "summary"}
    kind = next((kind for name, kind in kinds.items() if name in asked), "rollout")
    task = prompt.inputs.get("task") or f"question: {prompt.inputs.get('question', '')}"
    return Served(kind, "" if kind in ("update", "revision") else task, exchange.arrived, exchange.answered)


def http_lm(server: Endpoint, seed: int | None = None, model: str = "simulated") -> dspy.LM:
    """A `dspy.LM` on a server, without DSPy's cache."""
    given = {} if seed is None else {"seed": seed}
    return dspy.LM(f"openai/{model}", api_base=server.url, api_key="x", cache=False, **given)


if __name__ == "__main__":
    main()
