"""Runs code in DSPy's own interpreter, which is Python in WebAssembly on Deno: no files, no network, no processes.

It starts in seconds rather than milliseconds, and numpy or sympy can be imported only if Deno may fetch them.
"""

from __future__ import annotations

import importlib.util
import shutil
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from programs.sandbox.limits import Limits, Result, SandboxError
from programs.sandbox.output import Clip

if TYPE_CHECKING:
    from dspy.primitives.code_interpreter import CodeInterpreter

_PROBE = Limits(wall_seconds=60.0)  # the first start of all may fetch a part


class Deno:
    """Runs code in a new interpreter each time; of the limits it keeps those of time and of output shown.

    Args:
        make_interpreter: Makes the interpreter; None for DSPy's on Deno.
    """

    def __init__(self, make_interpreter: Callable[[], CodeInterpreter] | None = None) -> None:
        self._make = make_interpreter or _interpreter

    def run(self, code: str, limits: Limits) -> Result:
        """Run the code and wait until its interpreter is gone.

        Raises:
            SandboxError: The interpreter failed, whatever the code was.
        """
        from dspy.primitives.code_interpreter import CodeExecutionError, CodeInterpreterError

        started, late = time.monotonic(), threading.Event()
        output: Any = ""
        error = ""
        try:
            interpreter = self._make()
            watchdog = threading.Timer(limits.wall_seconds, _stop, [interpreter, late])
            watchdog.start()
            try:
                output = interpreter.execute(code)
            finally:
                watchdog.cancel()
                interpreter.shutdown()
        except (CodeExecutionError, SyntaxError) as failure:
            error = str(failure)
        except (CodeInterpreterError, OSError) as failure:
            if not late.is_set():
                raise SandboxError(f"Deno could not run the code: {failure}") from failure
            error = f"stopped after {limits.wall_seconds:g} s; the code must end sooner than that"
        stdout, truncated = _shown(output, limits)
        return Result(stdout, error, late.is_set(), truncated, time.monotonic() - started)


@cache
def why_not() -> str:
    """Why Deno cannot be used here, or nothing if it can; tried once per process."""
    if shutil.which("deno") is None and importlib.util.find_spec("deno") is None:
        return "Deno is not installed"
    try:
        result = Deno().run("print(1)", _PROBE)
    except SandboxError as error:
        return str(error)
    return "" if result.stdout.strip() == "1" else f"a first try gave {result.observation!r}"


def _interpreter() -> CodeInterpreter:
    from dspy import PythonInterpreter

    return PythonInterpreter()


def _stop(interpreter: CodeInterpreter, late: threading.Event) -> None:
    late.set()
    if process := getattr(interpreter, "deno_process", None):
        process.kill()
    else:
        interpreter.shutdown()


def _shown(output: object, limits: Limits) -> tuple[str, bool]:
    lines = output if isinstance(output, list) else [] if output is None else [output]
    clip = Clip(limits.output_chars)
    clip.add("\n".join(str(line) for line in lines).encode("utf-8", errors="replace"))
    return clip.text()
