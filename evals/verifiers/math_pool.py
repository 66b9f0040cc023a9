"""A few processes that compare mathematical answers, each replaced when it is lost to a hostile one.

math-verify bounds its own time by SIGALRM, which works in the main thread only; here rollouts are scored in worker
threads, so a process is asked, and ended when it takes too long.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Any

from tfgrpo_dspy import MetricError, MissingExtraError

_START = 120.0
"""Seconds that a process has to import math-verify."""
_PATIENCE = 12
"""The kernel ends a process after its seconds of computing; after so many times as many by the clock we do."""
_MOST = 4
"""Processes at most."""


class Undecided(Exception):
    """Two answers could not be compared within the time and memory allowed."""


class MathPool:
    """Compares answers in processes of its own; safe to use from many threads.

    Args:
        size: Processes at most, >= 1; they are started when they are needed.
        seconds: Of computing that a comparison may take, > 0.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._seconds = seconds
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()  # the last used first: few are started at light load
        for _ in range(size):
            self._free.put(_Process())

    def compare(self, gold: str, given: str) -> bool | None:
        """Whether two answers are the same; None if the gold one cannot be read.

        Raises:
            Undecided: It took too long or too much memory.
            MissingExtraError: math-verify is not installed.
        """
        process = self._free.get()
        try:
            return process.compare(gold, given, self._seconds)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End the processes; a later comparison starts new ones."""
        held = []
        with suppress(queue.Empty):
            while True:
                held.append(self._free.get_nowait())
        for process in held:
            process.end()
            self._free.put(process)


class _Process:
    """One process, started when it is first needed and again after it was lost."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[str] | None = None

    def compare(self, gold: str, given: str, seconds: float) -> bool | None:
        if self._running is None or self._running.poll() is not None:
            self._start()
        verdict = self._ask(json.dumps([gold, given, seconds]), seconds * _PATIENCE)
        if verdict is _NOTHING:
            raise Undecided(f"it took more than {seconds:g} s or too much memory")
        return None if verdict is None else bool(verdict)

    def end(self) -> None:
        if (ending := self._running) is None:
            return
        self._running = None
        ending.kill()
        ending.wait()
        for pipe in (ending.stdin, ending.stdout):
            with suppress(OSError):  # what was not sent yet cannot be
                pipe.close()

    def _start(self) -> None:
        self.end()
        if find_spec("math_verify") is None:
            raise MissingExtraError("comparing mathematical answers needs math-verify: pip install 'tfgrpo-dspy[math]'")
        program = [sys.executable, "-P", str(Path(__file__).with_name("math_process.py"))]
        pipe = subprocess.PIPE
        self._running = subprocess.Popen(
            program, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8", errors="replace"
        )
        if self._ask(None, _START) != "ready":
            raise MetricError(f"the process that compares answers did not start; run {' '.join(program)} to see why")

    def _ask(self, line: str | None, seconds: float) -> Any:
        """The answer to a line; `_NOTHING` if the process was lost, or had to be ended as it took too long."""
        assert self._running is not None
        patience = Timer(seconds, self._running.kill)  # what waits for its answer then reads the end of the pipe
        patience.daemon = True
        patience.start()
        try:
            return _exchange(self._running, line)
        except (OSError, ValueError):  # what it began to write when it was ended is no JSON
            self.end()
            return _NOTHING
        finally:
            patience.cancel()


_NOTHING = object()


def _exchange(process: subprocess.Popen[str], line: str | None) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    if line is not None:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    return json.loads(process.stdout.readline())


@cache
def shared_pool(seconds: float) -> MathPool:
    """The pool of this Python process for comparisons that may take so long; it ends with it."""
    pool = MathPool(min(os.cpu_count() or 1, _MOST), seconds)
    atexit.register(pool.close)
    return pool
