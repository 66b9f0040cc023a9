"""Ordinary code in the sandbox, and which sandbox it is."""

from __future__ import annotations

import copy
import os
import pickle
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from programs.sandbox import Limits, Result, Sandbox, SandboxError, bubblewrap, deno
from programs.sandbox.bubblewrap import Bubblewrap
from programs.sandbox.deno import Deno
from programs.sandbox.local import UnsafeLocal
from tfgrpo_dspy.errors import SettingsError, TFGRPOError

LIMITS = Limits(wall_seconds=60.0, cpu_seconds=30)


@pytest.fixture
def sandbox(nothing_left: None) -> Sandbox:
    return Sandbox(LIMITS)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine on which no command is found."""
    cached = bubblewrap.why_not, deno.why_not, bubblewrap._bwrap
    monkeypatch.setenv("PATH", str(tmp_path))
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_what_is_printed_is_the_observation(sandbox):
    result = sandbox.run("import sys\nprint(6 * 7)\nprint('seen too', file=sys.stderr)")
    assert (result.stdout, result.error, result.timed_out, result.truncated) == ("42\nseen too\n", "", False, False)
    assert result.observation == "42\nseen too"
    assert result.seconds > 0


def test_printing_nothing_is_told():
    assert Result("", "", False, False, 0.1).observation.startswith("(nothing was printed")


def test_numpy_and_sympy_can_be_imported(sandbox):
    pytest.importorskip("sympy")
    code = "import numpy, sympy\nx = sympy.Symbol('x')\nprint(numpy.arange(5).sum(), sympy.integrate(2 * x, x))"
    assert sandbox.run(code).observation == "10 x**2"


@pytest.mark.parametrize("module", ["requests", "dspy", "tfgrpo_dspy", "programs", "pip"])
def test_nothing_else_of_ours_can_be(sandbox, module):
    assert f"ModuleNotFoundError: No module named '{module}'" in sandbox.run(f"import {module}").error


def test_an_error_names_the_lines_it_came_from(sandbox):
    result = sandbox.run("def f(n):\n    return 1 / n\n\nprint('before')\nfor n in (1, 0):\n    f(n)\n")
    assert result.observation == (
        "before\nError: ZeroDivisionError: division by zero\n  line 6: f(n)\n  line 2: return 1 / n"
    )


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("x = = 3", "SyntaxError: invalid syntax\n  line 1: x = = 3"),
        ("print(y)", "NameError: name 'y' is not defined\n  line 1: print(y)"),
        ("{}['key']", "KeyError: 'key'\n  line 1: {}['key']"),
        ("assert False", "AssertionError\n  line 1: assert False"),
        ("x = '\\x00'\n\0", "SyntaxError: source code string cannot contain null bytes"),
        ("int('\udc80')", "ValueError: invalid literal for int() with base 10: '?'\n  line 1: int('?')"),
    ],
)
def test_errors_are_written_for_a_model(sandbox, code, error):
    assert sandbox.run(code).error == error


def test_large_numbers_are_printed_whole(sandbox):
    assert sandbox.run("print(len(str(2 ** 20000)))").observation == "6021"


def test_every_run_starts_anew(sandbox):
    assert sandbox.run("x = 1\nopen('file', 'w').write('x')").error == ""
    assert "NameError" in sandbox.run("print(x)").error
    assert sandbox.run("import os; print(os.listdir())").observation == "[]"


def test_the_same_code_prints_the_same(sandbox):
    code = "print({str(n) for n in range(20)})"
    assert sandbox.run(code).stdout == sandbox.run(code).stdout


def test_code_may_use_processes_threads_and_files(sandbox):
    code = """
import multiprocessing, tempfile, threading
def square(n): return n * n
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool: print(pool.map(square, range(4)))
    threads = [threading.Thread(target=print, args=("thread",)) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    with tempfile.TemporaryFile() as file: print(file.write(b"12345"))
"""
    assert sandbox.run(code).observation == "[0, 1, 4, 9]\nthread\nthread\n5"


def test_what_was_printed_before_a_time_out_is_kept(nothing_left):
    result = Sandbox(Limits(wall_seconds=4.0)).run("print('so far')\nimport time; time.sleep(600)")
    assert result.timed_out
    assert result.observation == "so far\nError: stopped after 4 s; the code must end sooner than that"


def test_a_loop_is_ended_by_its_processor_time(nothing_left):
    result = Sandbox(Limits(wall_seconds=300.0, cpu_seconds=1)).run("while True: pass")
    assert result.timed_out
    assert result.error == "stopped after 1 s of computing; find a faster way"


def test_long_output_is_cut_in_the_middle(nothing_left):
    result = Sandbox(Limits(output_chars=100)).run("for n in range(1000): print(n)")
    assert result.truncated
    assert result.stdout.startswith("0\n1\n")
    assert result.stdout.endswith("998\n999\n")
    assert "left out ...]" in result.stdout


def test_many_threads_use_it_at_once(sandbox):
    with ThreadPoolExecutor(32) as pool:
        squares = pool.map(lambda n: sandbox.run(f"print({n} ** 2)").observation, range(32))
        assert list(squares) == [str(n**2) for n in range(32)]


def test_many_sandboxes_exist_at_once(nothing_left):
    with ThreadPoolExecutor(32) as pool:  # past the gate that `Sandbox` has, so that they truly do
        squares = pool.map(lambda n: Bubblewrap().run(f"print({n} ** 2)", LIMITS).observation, range(32))
        assert list(squares) == [str(n**2) for n in range(32)]


def test_it_can_be_copied_and_sent():
    sandbox = Sandbox(LIMITS, unsafe_local_code=True)
    for twin in (copy.deepcopy(sandbox), pickle.loads(pickle.dumps(sandbox))):
        assert twin.limits == LIMITS
        assert isinstance(twin.runner, UnsafeLocal)


@pytest.mark.parametrize("name", ["wall_seconds", "cpu_seconds", "processes", "memory_mb", "output_chars"])
def test_a_limit_with_which_nothing_runs_is_refused(name):
    with pytest.raises(SettingsError, match=f"{name} must be > "):
        Limits(**{name: 0})


def test_bubblewrap_comes_first(bubblewrapped):
    assert isinstance(Sandbox().runner, Bubblewrap)


@pytest.mark.usefixtures("nothing_installed")
def test_without_any_sandbox_it_refuses_and_says_what_to_install():
    with pytest.raises(
        SettingsError, match=r"bwrap is not installed.*Deno is not installed.*apt-get install bubblewrap"
    ):
        Sandbox()
    assert Sandbox(unsafe_local_code=True).run("print(1)").observation == "1"


@pytest.mark.usefixtures("nothing_installed")
def test_a_bubblewrap_that_does_not_start_is_an_error_of_ours(tmp_path):
    (tmp_path / "bwrap").write_text(f"#!{shutil.which('sh', path=os.defpath)}\necho no namespaces >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    with pytest.raises(SandboxError, match="no namespaces") as caught:
        Bubblewrap().run("print(1)", LIMITS)
    assert isinstance(caught.value, ConnectionError)  # by which a rollout counts as lost
    assert isinstance(caught.value, TFGRPOError)
    assert "no namespaces" in bubblewrap.why_not()


@pytest.mark.usefixtures("nothing_installed")
def test_a_bubblewrap_that_vanished_is_an_error_of_ours():
    with pytest.raises(SandboxError, match="could not start"):
        Bubblewrap().run("print(1)", LIMITS)


@pytest.mark.usefixtures("bubblewrapped", "nothing_installed")
def test_a_sandbox_that_does_not_limit_processes_is_not_trusted(monkeypatch):
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(bubblewrap, "_PROBE_CODE", "print('forked')")
    assert "does not limit processes" in bubblewrap.why_not()


def test_unsafe_local_code_is_still_bounded_and_tidied_up(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    runner = UnsafeLocal()
    limits = Limits(wall_seconds=1.5, cpu_seconds=1, output_mb=1, output_chars=100)
    assert runner.run("open('x', 'w').write('x'); print(__import__('os').listdir())", limits).observation == "['x']"
    assert runner.run("while True: pass", limits).timed_out
    assert runner.run("import time; time.sleep(600)", limits).error.startswith("stopped after 1.5 s")
    assert "printing more than 1 MB" in runner.run("while True: print('x' * 1000)", limits).error
    assert "MemoryError" in runner.run("bytearray(64 << 30)", limits).error
    code = "import os, time\nchild = os.fork()\nif child == 0: time.sleep(600)\nprint(child)"
    assert not is_running(int(runner.run(code, limits).stdout))
    assert list(tmp_path.iterdir()) == []


def is_running(process: int) -> bool:
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return False
    try:
        return not select.select([descriptor], [], [], 10)[0]
    finally:
        os.close(descriptor)


def test_deno_is_asked_as_dspy_would():
    from dspy import LocalInterpreter  # the same protocol as the interpreter on Deno, and no sandbox

    runner = Deno(LocalInterpreter)
    limits = Limits(wall_seconds=20.0, output_chars=100)
    assert runner.run("print(6 * 7)", limits).observation == "42"
    assert "ZeroDivisionError" in runner.run("1 / 0", limits).error
    assert "yntax" in runner.run("x = = 3", limits).error
    assert runner.run("print('x' * 1000)", limits).truncated


def test_deno_is_stopped_in_time():
    from dspy import LocalInterpreter

    result = Deno(LocalInterpreter).run("while True: pass", Limits(wall_seconds=1.0))
    assert result.timed_out
    assert result.error.startswith("stopped after 1 s")


def test_importing_it_starts_nothing():
    code = "import sys, programs.sandbox; print(sorted({'dspy', 'numpy', 'sympy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
