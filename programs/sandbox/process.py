"""One supervised process: its output is read within bounds, and it is ended when a bound is reached."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from programs.sandbox.limits import Limits, Result
from programs.sandbox.output import Clip

_PIECE = 1 << 16  # a pipe holds no more
_TICK = 0.25  # seconds between two looks at what the kernel does not bound
_LAST_TICK = 0.005  # while nothing is left to read and the process is about to end
_REPORT_CHARS = 2_000
_STARTED = "started\n"
_SIGNALLED = 128  # what shells and bubblewrap add to the number of the signal that ended a process

Stop = Literal["", "time", "output", "files", "memory"]


@dataclass(slots=True)
class Watched:
    """What is read from a process while it runs."""

    output: Clip
    report: Clip = field(default_factory=lambda: Clip(_REPORT_CHARS))
    stopped: Stop = ""
    """The bound that was reached, if one was."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process went, after everything that belonged to it is gone."""

    watched: Watched
    status: int
    """Exit status; below 0 or above 128 for a signal."""
    seconds: float

    @property
    def started(self) -> bool:
        """Whether the code was reached; if not, the sandbox failed and `watched.output` says how."""
        return self.watched.report.text()[0].startswith(_STARTED)

    def result(self, limits: Limits) -> Result:
        """The outcome in words for the model."""
        stdout, truncated = self.watched.output.text()
        told = self.watched.report.text()[0].removeprefix(_STARTED).strip()
        error = _why_stopped(self.watched.stopped, limits) or told or _why_ended(self.status, limits)
        slow = self.watched.stopped == "time" or _signal_in(self.status) == signal.SIGXCPU
        return Result(stdout, error, slow, truncated, self.seconds)


def watch(
    process: subprocess.Popen[bytes], report: int, limits: Limits, excess: Callable[[], Stop], deadline: float
) -> Watched:
    """Read what a process says until it has ended or a bound is reached; what it started may still run afterwards.

    Args:
        process: With `stdout` a pipe.
        report: Read end of the pipe on which it reports how it failed.
        limits: Whose time and output are watched here.
        excess: Which other bound it has reached, of files or of memory; asked now and then.
        deadline: By `time.monotonic()`.
    """
    assert process.stdout is not None
    watched = Watched(Clip(limits.output_chars))
    clips = {process.stdout.fileno(): watched.output, report: watched.report}
    with selectors.DefaultSelector() as selector:
        for descriptor in clips:
            selector.register(descriptor, selectors.EVENT_READ)
        while not watched.stopped:
            has_ended = process.poll() is not None  # asked first: what it said before is there to be read then
            tick = 0.0 if has_ended else _TICK if selector.get_map() else _LAST_TICK
            ready = selector.select(max(0.0, min(tick, deadline - time.monotonic())))
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE)
                clips[key.fd].add(piece)
                if not piece:
                    selector.unregister(key.fd)
            if has_ended and not ready:
                break
            watched.stopped = _bound_reached(watched, limits, excess, deadline)
    return watched


def _bound_reached(watched: Watched, limits: Limits, excess: Callable[[], Stop], deadline: float) -> Stop:
    if watched.output.size + watched.report.size > limits.output_mb << 20:
        return "output"
    return "time" if time.monotonic() >= deadline else excess()


def _why_stopped(stopped: Stop, limits: Limits) -> str:
    match stopped:
        case "time":
            return f"stopped after {limits.wall_seconds:g} s; the code must end sooner than that"
        case "output":
            return f"stopped after printing more than {limits.output_mb} MB; print less"
        case "files":
            return f"stopped after making more than {limits.scratch_files} files"
        case "memory":
            return f"stopped after taking more than {limits.total_mb} MB of memory in all processes; use less"
        case _:
            return ""


def _why_ended(status: int, limits: Limits) -> str:
    """How a process ended that could not report it."""
    number = _signal_in(status)
    if status == 0:
        return ""
    if number == signal.SIGXCPU:
        return f"stopped after {limits.cpu_seconds} s of computing; find a faster way"
    if number == signal.SIGKILL:
        return "killed; it used too much memory or processor time"
    if number is not None:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"the interpreter crashed ({name})"
    return f"the interpreter ended with exit status {status}"


def _signal_in(status: int) -> int | None:
    if status < 0:
        return -status
    return status - _SIGNALLED if status > _SIGNALLED else None
