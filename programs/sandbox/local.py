"""Runs code as a process of this user: with time-outs and limits, and with every right the user has."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from functools import partial

from programs.sandbox.limits import Limits, Result, SandboxError
from programs.sandbox.machine import ENVIRONMENT, inside_command
from programs.sandbox.memory import held_by
from programs.sandbox.process import Ended, Stop, watch


class UnsafeLocal:
    """No sandbox: code can read and delete what you can. A child that leaves its process group outlives the run."""

    def run(self, code: str, limits: Limits) -> Result:
        """Run the code in a new process in a folder of its own, which is deleted afterwards.

        Raises:
            SandboxError: The process could not be started.
        """
        started = time.monotonic()
        try:
            with ExitStack() as opened:
                folder = opened.enter_context(
                    tempfile.TemporaryDirectory(prefix="tfgrpo-code-", ignore_cleanup_errors=True)
                )
                process, report = _start(opened, code, limits, folder)
                watched = watch(
                    process, report, limits, partial(_excess, process, limits), started + limits.wall_seconds
                )
        except OSError as error:
            raise SandboxError(f"no process could be started for the code: {error}") from error
        ended = Ended(watched, process.returncode, time.monotonic() - started)
        if not ended.started:
            raise SandboxError(f"the interpreter did not start: {watched.output.text()[0].strip()}")
        return ended.result(limits)


def _start(opened: ExitStack, code: str, limits: Limits, folder: str) -> tuple[subprocess.Popen[bytes], int]:
    source = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the caller's stack closes it
    source.write(code.encode("utf-8", errors="replace"))
    source.seek(0)
    reader, writer = os.pipe()
    opened.callback(os.close, reader)
    try:
        process = subprocess.Popen(
            inside_command(limits, writer),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT | {"HOME": folder, "TMPDIR": folder, "PATH": os.environ.get("PATH", os.defpath)},
            cwd=folder,
            pass_fds=[writer],
            start_new_session=True,
        )
    finally:
        os.close(writer)
    opened.enter_context(process)
    opened.callback(_end, process)
    return process, reader


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _excess(process: subprocess.Popen[bytes], limits: Limits) -> Stop:
    return "memory" if held_by(process.pid) > limits.total_mb << 20 else ""
