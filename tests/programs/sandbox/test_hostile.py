"""Code that tries to get out, or to take more than its share: contained, and nobody else notices."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from programs.sandbox import Limits, Sandbox
from programs.sandbox.seccomp import REFUSED, seccomp_filter
from tests.programs.sandbox.hostile_code import CASES, Case
from tests.programs.sandbox.processes import interpreters, processes_with

ROOT = Path(__file__).parents[3]
LIMITS = Limits(
    wall_seconds=30.0,  # for a busy machine; cases that wait have less
    cpu_seconds=1,
    memory_mb=160,
    scratch_mb=4,
    file_mb=2,
    output_mb=1,
    output_chars=2_000,
)
pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sibling: subprocess.Popen[bytes]
) -> Iterator[dict[str, str]]:
    """Things worth stealing or harming, by the names that the cases have for them."""
    value = secrets.token_hex(16)
    home, folder = tmp_path / "home", tmp_path / "private"
    for path in (home / ".ssh" / "id_rsa", folder / "secret"):
        path.parent.mkdir(parents=True)
        path.write_text(value, encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SECRET_OF_THE_TEST", value)
    temporary = Path("/tmp") / f"tfgrpo-{value}"
    temporary.write_text(value, encoding="utf-8")
    inherited = os.open(temporary, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    unix, abstract = str(tmp_path / "socket"), f"tfgrpo-{value}"
    listeners = [socket.create_server(("127.0.0.1", 0))]
    for address in (unix, f"\0{abstract}"):
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(address)
        listeners[-1].listen()
    yield {
        "home": str(home),
        "real_home": pwd.getpwuid(os.getuid()).pw_dir,
        "secret": str(folder / "secret"),
        "secret_folder": str(folder),
        "temporary": temporary.name,
        "source": __file__,
        "repository": str(ROOT),
        "parent": str(os.getpid()),
        "sibling": str(sibling.pid),
        "port": str(listeners[0].getsockname()[1]),
        "unix": unix,
        "abstract": abstract,
        "value": value,
    }
    for listener in listeners:
        listener.close()
    os.close(inherited)
    temporary.unlink()
    assert sorted(os.listdir(folder)) == ["secret"]
    assert (folder / "secret").read_text(encoding="utf-8") == value
    assert not Path("/planted").exists()


def filled(case: Case, surroundings: dict[str, str]) -> str:
    code = case.code
    for name, value in surroundings.items():
        code = code.replace("{" + name + "}", value)
    return code


@pytest.mark.parametrize("name", CASES)
def test_it_is_contained(name, surroundings):
    case = CASES[name]
    result = Sandbox(replace(LIMITS, **case.limits)).run(filled(case, surroundings))
    assert "ESCAPED" not in result.observation
    assert surroundings["value"] not in result.observation
    assert re.search(case.seen, result.observation), result.observation
    assert len(result.observation) < 5_000


@pytest.mark.skipif(seccomp_filter() is None, reason="no list of this machine's system calls")
def test_system_calls_that_reach_past_the_walls_are_refused():
    column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
    numbers = {name: pair[column] for name, pair in REFUSED.items()}
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, number in {numbers!r}.items():
    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if (result, ctypes.get_errno()) != (-1, 1): print(name, result, ctypes.get_errno())
print("all tried")
"""
    assert Sandbox(LIMITS).run(code).observation == "all tried"


def test_it_has_no_rights_left():
    code = """
import ctypes, os
libc = ctypes.CDLL(None)
print(os.getuid() == os.geteuid() != 0, os.getgroups(), libc.prctl(39, 0, 0, 0, 0))
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
print(libc.capget(header, data), [data[0], data[1], data[3], data[4]])
"""
    first, second = Sandbox(LIMITS).run(code).stdout.splitlines()
    assert first in {"True [] 1", f"True {os.getgroups()} 1"}  # the groups of whoever is not root stay, unmapped
    assert second == "0 [0, 0, 0, 0]"


def test_siblings_are_served_while_bombs_go_off(surroundings):
    bombs = ["a fork bomb", "a memory bomb in every child", "endless output", "filling the scratch folder"]
    limits = replace(LIMITS, wall_seconds=60.0, cpu_seconds=20)
    with ThreadPoolExecutor(12) as pool:
        hostile = [pool.submit(Sandbox(replace(LIMITS, wall_seconds=3.0)).run, CASES[name].code) for name in bombs]
        peaceful = [pool.submit(Sandbox(limits).run, f"print(sum(range({n}00_000)))") for n in range(1, 9)]
        sums = [int(future.result().stdout) for future in peaceful]
        assert not any("ESCAPED" in future.result().observation for future in hostile)
    assert sums == [sum(range(n * 100_000)) for n in range(1, 9)]


PARENT = """
import signal, sys
from programs.sandbox import Limits, Sandbox, machine
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
machine.ENVIRONMENT["MARK"] = sys.argv[1]
Sandbox(Limits(wall_seconds=300.0)).run("import os, time\\nif os.fork() == 0: os.setsid()\\ntime.sleep(600)")
"""


def test_a_sandbox_dies_with_whoever_started_it(mark):
    with subprocess.Popen([sys.executable, "-c", PARENT, mark], cwd=ROOT) as parent:
        while len(interpreters(mark) - {parent.pid}) < 2:
            assert parent.poll() is None
        watched = [os.pidfd_open(process) for process in processes_with(mark) if process != parent.pid]
        parent.kill()
    for process in watched:
        assert select.select([process], [], [], 30)[0]
        os.close(process)


def test_an_interrupt_leaves_nothing(mark):
    with subprocess.Popen([sys.executable, "-c", PARENT, mark], cwd=ROOT, stderr=subprocess.PIPE) as parent:
        while len(interpreters(mark) - {parent.pid}) < 2:
            assert parent.poll() is None
        parent.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in parent.communicate(timeout=60)[1]
    assert processes_with(mark) == []
