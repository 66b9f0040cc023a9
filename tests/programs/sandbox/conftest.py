"""What every sandbox test checks afterwards: nothing is left, and nobody outside was harmed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from programs.sandbox import bubblewrap, machine
from tests.programs.sandbox.processes import that_stay


@pytest.fixture(scope="session")
def bubblewrapped() -> None:
    """Skip where bubblewrap cannot be used."""
    if reason := bubblewrap.why_not():
        pytest.skip(f"bubblewrap cannot be used here: {reason}")


@pytest.fixture(scope="session")
def sibling() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this user, which code in a sandbox must not harm."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A word in the environment of every process of this test's sandboxes."""
    word = uuid.uuid4().hex
    monkeypatch.setitem(machine.ENVIRONMENT, "MARK", word)
    return word


@pytest.fixture
def nothing_left(
    bubblewrapped: None, mark: str, sibling: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """After the test there is no process, file, mount or descriptor more than before it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = len(os.listdir("/proc/self/fd")), Path("/proc/self/mounts").read_text(encoding="utf-8")
    yield
    assert that_stay(mark) == []
    assert (len(os.listdir("/proc/self/fd")), Path("/proc/self/mounts").read_text(encoding="utf-8")) == before
    assert list(temporary.iterdir()) == []
    assert sibling.poll() is None
