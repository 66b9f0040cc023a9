"""Where rollouts run: the seam between the loop, which stays in this process, and the program's work, which need not.

What crosses it is one rollout: a task (policy, metric and sampling), an example and a name there, what was made back.
The store, events, summaries, extractions and the update stay here, and so does the pool that bounds what is in flight.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import dspy

    from tfgrpo_dspy.lm.budget import Budget
    from tfgrpo_dspy.records.rollouts import Made

Roll: TypeAlias = "Callable[[dspy.Example, str], Made]"
"""Makes the rollout of that name for that example."""


class Pace(NamedTuple):
    """How hard endpoints may be pressed and how long they are waited for, for a place that has meters of its own."""

    num_threads: int
    """Rollouts in flight at most, over all places together."""
    call_timeout: float | None
    hedge: float
    seed: int
    max_outage: float | None
    budget: Budget | None
    """Of the run: whoever makes calls elsewhere has to ask the run's meter for each."""


class Place(Protocol):
    """Where the rollouts of one run are made."""

    def load(self, task: Roll) -> Roll:
        """Bring a task there, once for all rollouts of a step.

        Returns:
            A function for the threads of the pool: it blocks until its rollout is made, raises what stops the run,
            and makes of a machine that is lost for good a `Lost` one.
        """


class Executor(Protocol):
    """Opens a place for a run."""

    def open(self, pace: Pace) -> AbstractContextManager[Place]:
        """The place, in the dspy context of the caller; left when the run ends, and what runs there then is ended."""


class Here:
    """The thread that asks."""

    def load(self, task: Roll) -> Roll:
        """The task itself."""
        return task


class Threads:
    """Rollouts run in the threads of the run's own pool (the default)."""

    def __repr__(self) -> str:
        return "Threads()"

    def open(self, pace: Pace) -> AbstractContextManager[Place]:
        """Nothing to open."""
        return nullcontext(Here())
