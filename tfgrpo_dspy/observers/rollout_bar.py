"""A progress bar for an evaluation: rollouts done, reward so far, losses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tfgrpo_dspy.events import Event, Observer, RolloutFinished
from tfgrpo_dspy.group import Scored

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def rollout_bar(total: int, display: bool | None) -> Iterator[Observer]:
    """An observer that draws a bar of `total` rollouts; None for `display` draws on a terminal only."""
    if not (sys.stderr.isatty() if display is None else display):
        yield lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _RolloutCount(progress.add_task("", total=total), progress)


class _RolloutCount:
    def __init__(self, task: TaskID, progress: Progress) -> None:
        self._task, self._progress = task, progress
        self._rewards = 0.0
        self._scored = self._lost = 0

    def __call__(self, event: Event) -> None:
        if not isinstance(event, RolloutFinished):
            return
        if isinstance(event.rollout, Scored):
            self._rewards += event.rollout.reward
            self._scored += 1
        else:
            self._lost += 1
        mean = f"mean reward {self._rewards / self._scored:.2f}" if self._scored else ""
        lost = f", {self._lost} lost" if self._lost else ""
        self._progress.update(self._task, advance=1, description=mean + lost)
