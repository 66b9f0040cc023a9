"""Runs code under bubblewrap, and leaves nothing of it.

Processes are limited by `RLIMIT_NPROC`, which the kernel counts per user and does not apply to root. So where we are
root, each run becomes a user of its own; elsewhere each run has a user namespace of its own, in which the kernel counts
anew (since Linux 5.14). A probe makes sure that the limit binds before any code is trusted to it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import IO

from programs.sandbox.limits import Limits, Result, SandboxError
from programs.sandbox.machine import SCRATCH, interpreter_command, machine_options
from programs.sandbox.memory import held_by
from programs.sandbox.process import Ended, Stop, watch
from programs.sandbox.seccomp import seccomp_filter

_GRACE = 10.0  # seconds that a killed tree may take to be gone
_PROBE = Limits(wall_seconds=20.0, processes=1, memory_mb=256)
_PROBE_CODE = """
import os
try:
    child = os.fork()
except BlockingIOError:
    print("bounded")
else:
    os._exit(0) if child == 0 else os.waitpid(child, 0)
"""


class Bubblewrap:
    """Runs code under bubblewrap; has no state, so any number of threads may share it."""

    def run(self, code: str, limits: Limits) -> Result:
        """Run the code in a new process of a new sandbox and wait until all of it is gone.

        Raises:
            SandboxError: The sandbox could not be started or ended.
        """
        ended = _run(code, limits)
        if not ended.started:
            said = ended.watched.output.text()[0].strip() or f"exit status {ended.status}"
            raise SandboxError(f"bubblewrap could not start a sandbox: {said}; try again, or look at `bwrap` itself")
        return ended.result(limits)


@cache
def why_not() -> str:
    """Why bubblewrap cannot be used here, or nothing if it can; tried once per process."""
    if sys.platform != "linux":
        return "it needs Linux"
    if shutil.which("bwrap") is None:
        return "the command bwrap is not installed"
    try:
        result = Bubblewrap().run(_PROBE_CODE, _PROBE)
    except SandboxError as error:
        return str(error)
    if result.stdout.strip() != "bounded":
        return f"the kernel does not limit processes in it ({result.observation})"
    return ""


def _run(code: str, limits: Limits) -> Ended:
    """Start a sandbox, watch it, and leave nothing of it."""
    started = time.monotonic()
    try:
        with ExitStack() as opened:
            tree = _start(opened, code, limits)
            watched = watch(tree.process, tree.report.fileno(), limits, tree.excess, started + limits.wall_seconds)
    except OSError as error:
        raise SandboxError(f"bubblewrap could not start a sandbox: {error}") from error
    return Ended(watched, tree.process.returncode, time.monotonic() - started)


@dataclass(slots=True)
class _Tree:
    """The processes of a sandbox, seen from outside."""

    process: subprocess.Popen[bytes]
    """bwrap, which waits for the code and passes its exit status on."""
    told: IO[bytes]
    """Where bwrap tells which process is the first in the sandbox; closed early, it would fail."""
    report: IO[bytes]
    """Where the code's end is reported."""
    limits: Limits
    first: int = 0
    """The first process in the sandbox, as it is called outside."""
    init: int | None = None
    """The first process in the sandbox, as a pidfd: with it ends everything in there. None if there is none."""

    def meet(self) -> None:
        """Wait until the first process is there, or bwrap has failed."""
        if found := re.search(rb'"child-pid": (\d+)', os.read(self.told.fileno(), 4096)):
            self.first = int(found[1])
            with suppress(ProcessLookupError):  # the code was faster than we
                self.init = os.pidfd_open(self.first)

    def excess(self) -> Stop:
        """The bound that was reached of those that the kernel does not keep."""
        if self._is_crowded():
            return "files"
        return "memory" if self.first and held_by(self.first) > self.limits.total_mb << 20 else ""

    def _is_crowded(self) -> bool:
        """Whether there are more files than allowed: each takes memory of the kernel, however small it is."""
        try:
            found = os.statvfs(f"/proc/{self.first}/root{SCRATCH}")
        except OSError:  # not mounted yet, or gone
            return False
        is_ours = found.f_blocks * found.f_frsize == self.limits.scratch_mb << 20
        return is_ours and found.f_files - found.f_ffree > self.limits.scratch_files

    def end(self) -> None:
        """Kill what is left, and wait until the kernel has taken it away: only then does bwrap end.

        Raises:
            SandboxError: It does not go.
        """
        if self.init is None:
            self.meet()  # interrupted; to kill bwrap itself before it has let go of its child would leave that waiting
        if self.init is None:
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.init, signal.SIGKILL)
            os.close(self.init)
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired as error:
            raise SandboxError(f"a sandbox was killed and is still there after {_GRACE:g} s; look at `ps`") from error


def _start(opened: ExitStack, code: str, limits: Limits) -> _Tree:
    """Start bwrap; `opened` ends the sandbox, then closes what was opened for it."""
    source = opened.enter_context(_sealed(code.encode("utf-8", errors="replace")))
    told, tell = opened.enter_context(_pipe())
    report, say = opened.enter_context(_pipe())
    passed = [tell.fileno(), say.fileno()]
    options = ["--info-fd", str(tell.fileno())]
    if rules := seccomp_filter():
        passed.append(opened.enter_context(_sealed(rules)).fileno())
        options += ["--seccomp", str(passed[-1])]
    process = subprocess.Popen(
        [_bwrap(), *options, *machine_options(limits), "--", *interpreter_command(limits, say.fileno())],
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={},
        pass_fds=passed,
        start_new_session=True,  # no terminal to reach, and Ctrl-C is ours to handle
    )
    tree = _Tree(opened.enter_context(process), told, report, limits)
    opened.callback(tree.end)
    tell.close()
    say.close()
    tree.meet()
    return tree


@cache
def _bwrap() -> str:
    if (path := shutil.which("bwrap")) is None:
        raise FileNotFoundError("the command bwrap is not installed")
    return path


def _sealed(data: bytes) -> IO[bytes]:
    """A file without a name that is read from its beginning, and that nobody can change any more."""
    import fcntl  # not everywhere, and this module is imported everywhere

    file = os.fdopen(os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b", buffering=0)
    file.write(data)
    file.seek(0)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return file


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as out, os.fdopen(writer, "wb", buffering=0) as into:
        yield out, into
