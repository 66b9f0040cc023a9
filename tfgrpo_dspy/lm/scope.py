"""What an LM call belongs to: a run, what it is asked for, and which draw it is.

It stands in DSPy's context, which DSPy's own threads and tasks inherit, so it is known wherever an engine is asked:
whatever LM the program brings, and however it came by it.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import dspy

from tfgrpo_dspy.lm.budget import POLICY, Due, Kind, OutOfBudget
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.usage import Usage

logger = logging.getLogger(__name__)

KEY = "tfgrpo_scope"
"""Its name in DSPy's context."""


class Abandoned(OutOfBudget):
    """A call of a rollout that was given up: nobody waits for it."""


class Listener:
    """Hears of the calls of one rollout, or of one question to the reflection LM. Thread-safe."""

    def __init__(self) -> None:
        self.usage = Usage()
        """What the answers so far took."""
        self.signal: BaseException | None = None
        """What kept a call from being made, even if the program swallowed it."""
        self.remark = ""
        """What was odd about the last reply that the model is taken to be to blame for; empty if nothing was."""
        self._given_up: str | None = None
        self._adding = threading.Lock()  # a program may call its predictors from threads of its own

    def abandon(self, reason: str) -> None:
        """Nobody waits any more: every further call is refused."""
        self._given_up = reason

    def check(self) -> None:
        """Raises `Abandoned` if nobody waits any more."""
        if self._given_up is not None:
            raise Abandoned(self._given_up)

    def answered(self, usage: Usage) -> None:
        """A call was answered."""
        with self._adding:
            self.usage += usage


@dataclass(frozen=True, slots=True)
class Draw:
    """Which of many draws from the same distribution a call is part of."""

    name: str
    """What was drawn for what: the same on a re-run, another for any other draw."""
    seed: int
    """Stands in for the `seed` of an LM that has one, or a provider that honours it would answer the same G times."""

    def within(self, other: Draw | None) -> Draw:
        """What is drawn while another draw is made, anew for each of those."""
        return self if other is None else Draw(f"{other.name}|{self.name}", (other.seed + self.seed) % 2**31)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the calls made in a context belong to."""

    meter: Meter
    kind: Kind = POLICY
    draw: Draw | None = None
    """None for what need not be drawn anew: the same question may have the same answer."""
    listener: Listener | None = None
    due: Due | None = None
    """What must be left of a budget for the group that is rolled out; None if it is not to be learned from."""
    around: Scope | None = None
    """That in which its run was begun, by a program or a metric of another run, whose limits hold for it, too."""

    @property
    def outwards(self) -> Iterator[Scope]:
        """It, and those that its run is part of."""
        here: Scope | None = self
        while here is not None:
            yield here
            here = here.around

    def hear(self, took: Usage) -> None:
        """What a call took is added to what is counted for whoever asked."""
        if self.listener is not None:
            self.listener.answered(took)

    def entered(self, **settings: object) -> AbstractContextManager[None]:
        """DSPy's context with these settings, in which calls belong to this scope."""
        context: AbstractContextManager[None] = dspy.context(**{KEY: self}, **settings)
        return context


def scope_here() -> Scope | None:
    """What calls made here belong to; None outside of any run."""
    scope: Scope | None = dspy.settings.get(KEY)
    return scope


def active_meter() -> Meter | None:
    """The meter of the run that this thread works for."""
    scope = scope_here()
    return None if scope is None else scope.meter


def asking(
    kind: Kind, listener: Listener, draw: Draw | None = None, due: Due | None = None, **settings: object
) -> AbstractContextManager[None]:
    """DSPy's context with these settings, for calls of this kind, heard by the listener, in the run under way here."""
    scope = scope_here()
    if scope is None:
        context: AbstractContextManager[None] = dspy.context(**settings)
        return context
    if scope.around is not None:
        draw = scope.around.draw if draw is None else draw.within(scope.around.draw)
    return Scope(scope.meter, kind, draw, listener, due, scope.around).entered(**settings)


@dataclass(slots=True)
class _Live:
    """A run under way."""

    scope: Scope
    older: weakref.WeakSet[threading.Thread]
    """Threads that were there before it."""
    told: set[str]


_live: list[_Live] = []


@contextmanager
def live(scope: Scope) -> Iterator[None]:
    """Calls in threads that know of no run, because the program started them itself, are those of this one."""
    run = _Live(replace(scope, listener=Listener()), weakref.WeakSet(threading.enumerate()), set())
    _live.append(run)
    try:
        yield
    finally:
        _live.remove(run)


def scope_of_stray(model: str) -> Scope | None:
    """What a call belongs to that was made in a thread without a context; None if to no run that could be told.

    It is counted for the latest run which asks that model too, or else was there before the thread. What is left may be
    anybody's, so it is made uncounted, and the runs under way say so.
    """
    here = threading.current_thread()
    for run in reversed(_live):
        if model in run.scope.meter.models or here not in run.older:
            return run.scope
    for run in _live:
        if model not in run.told:
            run.told.add(model)
            run.scope.meter.say(
                f"{model} is asked by a thread that was there before the run, and not in its context: these calls are "
                "not counted, and no cap holds for them; if they are the program's, start its threads with "
                "contextvars.copy_context().run, or use dspy.Parallel"
            )
    return None
