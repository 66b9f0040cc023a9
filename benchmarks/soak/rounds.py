"""One round: a run is disturbed a few times at random, goes on until it has finished, and is compared."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.soak.disturbances import DISTURBANCES, FIRST, Scene
from benchmarks.soak.processes import (
    AWAY,
    DONE,
    INTERRUPTED,
    REFUSED,
    TERMINATED,
    UNUSED,
    WAITING,
    Child,
    Endpoint,
    Hung,
)
from benchmarks.soak.scenarios import Scenario, decide, write_data

_STARTS = 12
"""After the last disturbance, a command has to have finished."""
_MOST = 4
"""Disturbances of a round."""
_IN_ORDER = {DONE, REFUSED, WAITING, UNUSED, AWAY, INTERRUPTED, TERMINATED, -9, -15}
"""Ways in which a process may end: in a sentence, or by the signal that was sent to it."""


class Whole(NamedTuple):
    """What an undisturbed run came to."""

    outcome: Mapping[str, str]
    calls: int


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one."""

    scenario: str
    disturbances: Sequence[str]
    paid_twice: int = 0
    """Calls that were answered beyond those of the undisturbed run."""
    allowed: int = 0
    """The most that may be."""
    starts: int = 0
    wrong: str = ""
    """What was not as it should be; empty if all was."""


class _Run:
    """A run under way: the process that works on it now.

    Args:
        scenario: What is run.
        endpoint: What it asks.
        folder: Where it works.
    """

    def __init__(self, scenario: Scenario, endpoint: Endpoint, folder: Path) -> None:
        write_data(scenario, folder)
        self.scenario, self.endpoint, self.folder = scenario, endpoint, folder
        self.starts, self._before = 0, endpoint.answered
        self.start()

    @property
    def calls(self) -> int:
        """That were answered since it began."""
        return self.endpoint.answered - self._before

    def start(self) -> None:
        """Give the command."""
        self.child, self.starts = Child(self.scenario, self.endpoint.url, self.folder), self.starts + 1

    def ended(self) -> int:
        """The exit code of the process; what it asks for is decided.

        Raises:
            AssertionError: It ended otherwise than in a sentence, or by a signal that was sent to it.
        """
        code = self.child.ends()
        if code not in _IN_ORDER:
            raise AssertionError(f"a process ended with {code}")
        if code == WAITING:
            decide(self.folder)
        return code

    def disturb(self, name: str, draws: random.Random, whole: Whole, after: int) -> int:
        """Let something happen to it once so many more calls were answered; what that may have cost."""
        if self.child.has_ended:
            self.ended()
            self.start()
        target = self.endpoint.answered + after
        self.child.wait_for(lambda: self.endpoint.answered >= target)
        scene = Scene(self.scenario, self.endpoint, self.folder, self.child, draws, whole.calls)
        return DISTURBANCES[name](scene) * self.scenario.calls_per_task

    def finish(self) -> int:
        """Wait for the process, and give the command until all is decided; its exit code."""
        self.ended()
        for _ in range(_STARTS):
            self.start()
            if (code := self.ended()) != WAITING:
                return code
        return WAITING

    def last_words(self) -> str:
        """Of what its processes said."""
        said = (self.folder / "said.log").read_text(encoding="utf-8", errors="replace")
        return " ".join(said.split())[-600:]


def undisturbed(scenario: Scenario, endpoint: Endpoint, folder: Path) -> Whole:
    """Run a scenario to its end.

    Raises:
        AssertionError: It does not end well even so.
    """
    run = _Run(scenario, endpoint, folder)
    if (code := run.finish()) not in {DONE, UNUSED}:
        raise AssertionError(f"{scenario.name} ended with {code}: {run.last_words()}")
    return Whole(scenario.outcome(folder), run.calls)


def disturbed(scenario: Scenario, whole: Whole, endpoint: Endpoint, folder: Path, draws: random.Random) -> Round:
    """The same with disturbances."""
    happening = [name for name in DISTURBANCES if name != FIRST]
    names = draws.choices(happening, k=draws.randint(1, _MOST))
    if scenario.is_tracked:
        names[0] = FIRST
    run, allowed = _Run(scenario, endpoint, folder), 0
    try:
        for name in names:
            after = 0 if name == FIRST else draws.randint(0, whole.calls // len(names))
            allowed += run.disturb(name, draws, whole, after)
        code = run.finish()
    except (Hung, AssertionError) as error:
        run.child.process.kill()
        return Round(scenario.name, names, starts=run.starts, wrong=f"{error}: {run.last_words()}")
    paid = run.calls - whole.calls
    wrong = f"it ended with {code}: {run.last_words()}"
    if code in {DONE, UNUSED}:
        wrong = wrong_in(scenario.outcome(folder), whole, paid - allowed)
    return Round(scenario.name, names, paid, allowed, run.starts, wrong)


def wrong_in(came: Mapping[str, str], whole: Whole, excess: int) -> str:
    """What is not as in the undisturbed run, and that more was paid than may be; empty if nothing is wrong."""
    differing = [name for name in sorted({*came, *whole.outcome}) if came.get(name) != whole.outcome.get(name)]
    if differing:
        return f"{', '.join(differing)} came out otherwise"
    return f"{excess} calls more were paid twice than were in flight" if excess > 0 else ""
