"""Which sandbox runs the code on this machine."""

from __future__ import annotations

import logging
import platform
import threading
from functools import cache
from typing import Protocol

from programs.sandbox import bubblewrap, deno
from programs.sandbox.bubblewrap import Bubblewrap
from programs.sandbox.deno import Deno
from programs.sandbox.limits import Limits, Result
from programs.sandbox.local import UnsafeLocal
from programs.sandbox.memory import runs_at_once
from programs.sandbox.seccomp import seccomp_filter
from tfgrpo_dspy import SettingsError

logger = logging.getLogger(__name__)

_DEFAULT = Limits()


class Runner(Protocol):
    """Runs model-written code somewhere."""

    def run(self, code: str, limits: Limits) -> Result:
        """What came of the code; whatever it does is a result, and only the runner's own failure a `SandboxError`."""
        ...


class Sandbox:
    """Runs model-written Python, each time in a fresh process of which nothing is left; any thread may call it.

    Runs wait for each other where there are more than two per processor, or than fit into half of the free memory;
    that time counts for no limit.

    Args:
        limits: What one run may use.
        unsafe_local_code: Run the code outside any sandbox, as a process of yours with all your rights; for people who
            know what they do.

    Raises:
        SettingsError: There is no sandbox on this machine; the message says what to install.
    """

    def __init__(self, limits: Limits = _DEFAULT, *, unsafe_local_code: bool = False) -> None:
        self.limits = limits
        self.runner: Runner = UnsafeLocal() if unsafe_local_code else _best_runner()

    def run(self, code: str) -> Result:
        """Run the code and wait for its end.

        Raises:
            SandboxError: The sandbox failed; what the code does, fails at or uses too much of is in the result.
        """
        with _turns(self.limits.total_mb):
            return self.runner.run(code, self.limits)


@cache
def _turns(total_mb: int) -> threading.BoundedSemaphore:
    """Those of this process; made when first needed, as an agent is pickled together with its modules."""
    return threading.BoundedSemaphore(runs_at_once(total_mb))


@cache
def _say_what_is_missing(machine: str) -> None:
    if seccomp_filter(machine) is None:
        logger.warning(
            "no filter of system calls is known for %s: model-written code has no network, no files and no processes "
            "of yours, and is bounded as elsewhere, but may reach parts of the kernel (user namespaces, vsock, memory "
            "that is counted nowhere) that are closed on x86_64 and aarch64",
            machine,
        )


def _best_runner() -> Runner:
    if not (without_bubblewrap := bubblewrap.why_not()):
        _say_what_is_missing(platform.machine())
        return Bubblewrap()
    if not (without_deno := deno.why_not()):
        return Deno()
    raise SettingsError(
        "there is no sandbox here for code that a model writes "
        f"(bubblewrap: {without_bubblewrap}; Deno: {without_deno}); install one, e.g. `apt-get install bubblewrap` or "
        "`pip install 'dspy[deno]'`, or run the code unprotected, with all your rights, by unsafe_local_code=True "
        "(`--unsafe-local-code` of the commands that take a program of yours)"
    )
