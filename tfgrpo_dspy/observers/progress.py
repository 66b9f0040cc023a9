"""Shows that a run moves: a bar on a terminal; elsewhere, and in a log, a line at each step and a line a minute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.phase import Pace, Phase
from tfgrpo_dspy.records.events import (
    Event,
    ObjectiveDerived,
    Observer,
    RolloutFinished,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from tfgrpo_dspy.records.planned import auto_text
from tfgrpo_dspy.records.wording import is_simulated, usage_text
from tfgrpo_dspy.text import counted, one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

logger = logging.getLogger(__name__)

_MINUTE = 60.0
"""Seconds without a word after which a log gets a line."""
_NARROW = 70
"""Columns of a terminal below which the bar itself is short."""


class ProgressBar:
    """Draws a bar of rollouts per step with the time left for the run, the reward so far, tokens and cost.

    On a terminal the bar moves; elsewhere (a log file, a pipe, a notebook) there is a line when a step is done and,
    while it goes on, one a minute. Each line goes to the `logging` of this package at INFO as well; where that shows
    it, it is not printed besides. The display closes with `RunFinished`, or when used as a context manager.

    Args:
        console: Where to draw; None for standard error.
        lines: Whether to leave a line per step, and one at start and end. Without, and without a terminal, nothing is
            shown.
        clock: Gives seconds.
    """

    def __init__(
        self, console: Console | None = None, *, lines: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._lines = console or Console(file=sys.stderr), lines
        self._clock, self._said_at = clock, clock()
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._phase = Phase()
        self._pace = Pace(clock(), 0)
        self._usage = Usage()
        self._tolerance, self._steps, self._judged, self._done = 0.0, 0, 0, 0
        self._first: int | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was; can be called twice."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._task = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self._begin(event)
            case ObjectiveDerived(objective=text):
                self._say(f"what it is for, as derived: {one_line(text)}")
            case StepStarted():
                size = event.rollouts // max(event.examples, 1)
                self._begin_phase(Phase(self._named(event.step), event.rollouts, size, self._first))
            case StepFinished(record=record):
                self._end_phase()
                self._say(f"{self._named(record.step)}: {record.to_text(self._tolerance)}")
            case RunFinished():
                self._end(event)
            case _:
                if isinstance(event, RolloutFinished) and self._phase.has_all_rollouts:
                    self._begin_phase(Phase("validation", self._judged))
                self._take(event)

    def count(self, total: int) -> Observer:
        """Show an evaluation of so many rollouts instead of a run; returns who takes its events."""
        self._pace = Pace(self._clock(), total)
        self._open()
        self._begin_phase(Phase("evaluating", total))
        return lambda event: self._take(event) if isinstance(event, RolloutFinished) else None

    def _begin(self, event: RunStarted) -> None:
        self.close()
        self._usage, self._tolerance, self._steps = Usage(), event.settings.tolerance, event.steps
        self._first = event.settings.min_group_size
        self._phase, self._judged = Phase(), len(event.valset or ()) * event.settings.validation_rollouts
        self._done, self._pace = 0, Pace(self._clock(), event.rollouts + self._judged * (event.steps + 1))
        simulated = is_simulated(event.lms.values())
        lms = " and ".join(dict.fromkeys(event.lms.values()))
        self._say(
            f"Training-Free GRPO: {counted(event.steps, 'step')}, {'' if self._first is None else 'at most '}"
            f"{counted(event.rollouts, 'rollout')}, {counted(len(event.trainset), 'example')}; "
            f"LM {lms}{' (simulated LM: shows the machinery, not a model)' if simulated else ''}"
        )
        if event.resumed:
            self._say(f"taken up: {event.resumed}")
        if said := auto_text(event.settings, len(event.trainset)):
            self._say(f"auto={said}")
        self._open()

    def _open(self) -> None:
        if self._console.is_terminal:
            self._bars = bars(self._console)
            self._bars.start()

    def _begin_phase(self, phase: Phase) -> None:
        self._phase = phase
        if self._bars is not None:
            self._end_phase()
            self._task = self._bars.add_task("", total=phase.planned, title=phase.title, left="")

    def _end_phase(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def _named(self, step: int) -> str:
        return f"step {step}/{self._steps}" if step <= self._steps else "what is in doubt"

    def _end(self, event: RunFinished) -> None:
        self.close()
        entries = f"{counted(len(event.result.library), 'experience')}, {usage_text(event.result.usage)}"
        ended = event.result.ended
        self._say(f"{ended.sentence}: {entries}")
        if ended.is_in_order:  # else an exception tells
            for line in ended.details():
                self._say(f"  {line}")

    def _take(self, event: Event) -> None:
        self._usage += self._phase.take(event, self._tolerance)
        self._done += isinstance(event, RolloutFinished)
        now, text = self._clock(), self._phase.describe(usage_text(self._usage))
        left = self._pace.left(self._done, now)
        if self._bars is not None and self._task is not None:
            planned, done = self._phase.planned, self._phase.done
            self._bars.update(self._task, completed=done, total=planned, description=text, left=left)
        elif now - self._said_at >= _MINUTE:
            parts = [f"{self._phase.title}: {self._phase.done}/{self._phase.planned} rollouts", left, text]
            self._say(" · ".join(filter(None, parts)))

    def _say(self, text: str) -> None:
        self._said_at = self._clock()
        logger.info("%s", text)
        if self._lines and not (logger.hasHandlers() and logger.isEnabledFor(logging.INFO)):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def bars(console: Console, *, title: str = "{task.fields[title]}") -> Progress:
    """Bars whose title, count and clock keep their places at any width, and whose details give way."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    fixed: dict[str, Any] = {"markup": False}
    columns = [
        TextColumn(title, table_column=Column(no_wrap=True), **fixed),
        BarColumn(bar_width=8 if console.width < _NARROW else 20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True), **fixed),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), **fixed),
    ]
    return Progress(*columns, console=console, transient=True, expand=True)


@contextmanager
def rollout_bar(total: int, display: bool) -> Iterator[Observer]:
    """An observer that shows `total` rollouts as `ProgressBar` does; nothing without `display`."""
    if not display:
        yield lambda event: None
        return
    with ProgressBar() as bar:
        yield bar.count(total)
