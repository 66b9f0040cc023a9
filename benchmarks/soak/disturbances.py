"""What can happen to a run: each does it once, and says how many tasks that were paid for it may have cost."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.soak.processes import REFUSED, Child, Endpoint, Hung
from benchmarks.soak.scenarios import THREADS, TRACKED, Scenario

AWAY = (5.0, 60.0)
"""Seconds of an outage, which the run waits out."""
FULL = (0.1, 1.5)
"""Seconds for which a disk is full."""


class Scene(NamedTuple):
    """A run under way."""

    scenario: Scenario
    endpoint: Endpoint
    folder: Path
    child: Child
    random: random.Random
    calls: int
    """Of the undisturbed run."""

    def between(self, seconds: tuple[float, float]) -> float:
        """A span of time."""
        return self.random.uniform(*seconds)


Disturbance = Callable[[Scene], int]
"""Does what its name says; returns how many tasks in flight, or results, it may have cost."""


def kill(scene: Scene) -> int:
    """SIGKILL."""
    scene.child.process.kill()
    scene.child.ends()
    return THREADS


def terminate(scene: Scene) -> int:
    """SIGTERM."""
    scene.child.process.terminate()
    scene.child.ends()
    return THREADS


def interrupt(scene: Scene) -> int:
    """One Ctrl-C, or two."""
    _interrupt(scene.child)
    if scene.random.random() < 0.5:
        with suppress(Hung):
            scene.child.ends(scene.between((0.01, 0.5)))
        _interrupt(scene.child)
    scene.child.ends()
    return THREADS


def outage(scene: Scene) -> int:
    """The endpoint answers nothing for a while; the run goes on by itself."""
    with scene.endpoint.away(scene.random.choice(["error", "bad_gateway", "reset"])):
        _for(scene.between(AWAY), scene.child)
    return 0


def full_disk(scene: Scene) -> int:
    """No file of the run may grow for a while."""
    files = [path for path in scene.folder.rglob("*") if path.is_file()]
    largest = max((path.stat().st_size for path in files), default=0)
    with _limited(scene.child.pid, largest + scene.random.randint(0, 20_000)):
        _for(scene.between(FULL), scene.child)
    return THREADS  # it may have ended the run, as a kill does


def damaged_record(scene: Scene) -> int:
    """The process is killed, and then a record of its store says something else."""
    kill(scene)
    spoilt = 0
    for path in scene.folder.glob(scene.scenario.stores):
        with closing(sqlite3.connect(path)) as connection, connection:
            ids = [number for (number,) in connection.execute("SELECT id FROM records WHERE kind != 'about'")]
            for number in scene.random.sample(ids, min(2, len(ids))):
                [value] = connection.execute("SELECT value FROM records WHERE id = ?", (number,)).fetchone()
                wrong = value.replace("0", "7", 1) if "0" in value else json.dumps(value)
                connection.execute("UPDATE records SET value = ? WHERE id = ?", (wrong, number))
                spoilt += 1
    return THREADS + spoilt


def damaged_page(scene: Scene) -> int:
    """The process is killed, and then some bytes of its store are others: all records of a page may be gone."""
    kill(scene)
    lost = 0
    for path in scene.folder.glob(scene.scenario.stores):
        if path.stat().st_size < 3 * 4096:
            continue
        with path.open("r+b") as file:
            file.seek(scene.random.randrange(4096, path.stat().st_size - 64))
            file.write(scene.random.randbytes(64))
        lost += 4096 // 100
    return THREADS + lost


def second_process(scene: Scene) -> int:
    """The same command beside the run, with `--restart` or without: it is refused, and the run goes on."""
    may_restart = not scene.scenario.is_comparison and scene.random.random() < 0.5
    with _held_still(scene.child):
        other = Child(scene.scenario, scene.endpoint.url, scene.folder, *(["--restart"] if may_restart else []))
        code = other.ends()
    if code == REFUSED:
        return 0
    scene.child.ends()  # it had not begun when it was held, or was letting go: the other one had the run to itself
    return scene.calls


def end_at_first(scene: Scene) -> int:
    """SIGKILL, SIGTERM or Ctrl-C within the second in which a new MLflow store is made."""
    scene.child.wait_for((scene.folder / TRACKED).parent.exists)
    _for(scene.between((0, 1)), scene.child)
    return scene.random.choice([kill, terminate, interrupt])(scene)


DISTURBANCES: dict[str, Disturbance] = {
    made.__name__: made
    for made in (
        *(kill, terminate, interrupt, outage, full_disk, damaged_record, damaged_page, second_process, end_at_first),
    )
}
"""By name."""
FIRST = end_at_first.__name__
"""What happens first where there is a store to be made, and nowhere else."""


def _interrupt(child: Child) -> None:
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGINT)


@contextmanager
def _held_still(child: Child) -> Iterator[None]:
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)


def _for(seconds: float, child: Child) -> None:
    until = time.monotonic() + seconds
    child.wait_for(lambda: time.monotonic() >= until)


@contextmanager
def _limited(process: int, size: int) -> Iterator[None]:
    """Within it, no file that the process writes may become larger: what a full disk is to it, without filling one."""
    gone = ProcessLookupError, PermissionError
    before = None
    with suppress(*gone):
        before = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        if before is not None:
            with suppress(*gone):
                resource.prlimit(process, resource.RLIMIT_FSIZE, before)
