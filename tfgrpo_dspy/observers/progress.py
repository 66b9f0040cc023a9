"""Shows a run on a terminal while it goes on, or as one line per step where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import Progress, TaskID

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import Extraction, Summary
from tfgrpo_dspy.records.events import (
    Event,
    GroupFinished,
    Observer,
    ReflectionFinished,
    RolloutFinished,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from tfgrpo_dspy.records.planned import auto_text
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Group, Rollout, Scored, reward_estimate
from tfgrpo_dspy.records.wording import is_simulated, usage_text
from tfgrpo_dspy.text import shorten

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class ProgressBar:
    """Draws a bar of rollouts per step with the reward so far, what the step has learned, tokens and cost.

    On a terminal the bar moves; elsewhere (a log file, a pipe) each step gives one line when it is done. The display
    closes with `RunFinished`, or when used as a context manager.

    Args:
        console: Where to draw; None for standard error.
        lines: Whether to leave a line per step, and one at start and end. Without, and without a terminal, nothing is
            shown.
    """

    def __init__(self, console: Console | None = None, *, lines: bool = True) -> None:
        if console is None:
            from rich.console import Console as RichConsole

            console = RichConsole(file=sys.stderr)
        self._console, self._lines = console, lines
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._phase = _Phase()
        self._usage = Usage()
        self._tolerance, self._steps, self._judged = 0.0, 0, 0
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
            case StepStarted():
                phase = _Phase(event.rollouts, event.rollouts // max(event.examples, 1), self._first)
                self._begin_phase(self._named(event.step), phase)
            case StepFinished(record=record):
                self._end_step(record)
            case RunFinished():
                self._end(event)
            case _:
                if isinstance(event, RolloutFinished) and self._phase.has_all_rollouts:
                    self._begin_phase("validation", _Phase(self._judged))
                self._usage += self._phase.take(event, self._tolerance)
                self._draw(advance=isinstance(event, RolloutFinished))

    def _begin(self, event: RunStarted) -> None:
        self.close()
        self._usage, self._tolerance, self._steps = Usage(), event.settings.tolerance, event.steps
        self._first = event.settings.min_group_size
        self._phase, self._judged = _Phase(), len(event.valset or ()) * event.settings.validation_rollouts
        simulated = is_simulated(event.lms.values())
        lms = " and ".join(dict.fromkeys(event.lms.values()))
        self._say(
            f"Training-Free GRPO: {event.steps} steps, {'' if self._first is None else 'at most '}{event.rollouts} "
            f"rollouts, {len(event.trainset)} examples; "
            f"LM {lms}{' (simulated LM: shows the machinery, not a model)' if simulated else ''}"
        )
        if event.resumed:
            self._say(f"taken up: {event.resumed}")
        if said := auto_text(event.settings, len(event.trainset)):
            self._say(f"auto={said}")
        if self._console.is_terminal:
            self._bars = _bars(self._console)
            self._bars.start()

    def _begin_phase(self, title: str, phase: _Phase) -> None:
        self._phase = phase
        if self._bars is not None:
            self._end_phase()
            self._task = self._bars.add_task("", total=phase.planned, title=title)

    def _end_phase(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def _end_step(self, record: StepRecord) -> None:
        self._end_phase()
        self._say(f"{self._named(record.step)}: {record.to_text(self._tolerance)}")

    def _named(self, step: int) -> str:
        return f"step {step}/{self._steps}" if step <= self._steps else "what is in doubt"

    def _end(self, event: RunFinished) -> None:
        self.close()
        entries = f"{len(event.result.library)} experiences, {usage_text(event.result.usage)}"
        ended = event.result.ended
        self._say(f"{ended.sentence}: {entries}")
        for line in ended.details():
            self._say(f"  {shorten(line, 60)}")

    def _draw(self, *, advance: bool) -> None:
        if self._bars is not None and self._task is not None:
            text = f"{self._phase.describe()} · {usage_text(self._usage)}"
            done = 1 if advance else 0
            self._bars.update(self._task, advance=done, total=self._phase.planned, description=text)

    def _say(self, text: str) -> None:
        if self._lines:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass(slots=True)
class _Phase:
    """What a step, or the validation after it, has done so far."""

    planned: int = 0
    """Its rollouts; what comes after them belongs to a validation."""
    size: int = 0
    """Of a whole group; adaptive ones that stay smaller lessen what is planned."""
    first: int | None = None
    """Rollouts of an adaptive group whose rewards are counted; None for all."""
    groups: list[Group] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    scored: int = 0
    lost: int = 0
    informative: int = 0
    summaries: int = 0
    extractions: int = 0
    failures: int = 0
    half_width: str = ""
    """Of the interval of the mean reward, over the groups finished so far."""

    @property
    def has_all_rollouts(self) -> bool:
        return self.scored + self.lost >= self.planned

    def take(self, event: Event, tolerance: float) -> Usage:
        """Count an event; returns the LM use that it brings."""
        match event:
            case RolloutFinished(rollout=rollout):
                self._count(rollout)
                return rollout.usage
            case GroupFinished(group=group):
                self.groups.append(group)
                self.planned -= self.size - len(group.rollouts) if self.size else 0
                self.informative += group.is_informative(tolerance)
                estimate = reward_estimate(self.groups)
                if estimate is not None and estimate.n > 1:
                    self.half_width = f" ± {(estimate.high - estimate.low) / 2:.2f}"
            case ReflectionFinished(made=made):
                self.summaries += isinstance(made, Summary)
                self.extractions += isinstance(made, Extraction) and made.advantage is not None
                self.failures += len(made.failures)
                return made.usage
        return Usage()

    def _count(self, rollout: Rollout) -> None:
        if not isinstance(rollout, Scored):
            self.lost += 1
            return
        self.scored += 1
        if self.first is None or int(rollout.name.rpartition("/r")[2]) < self.first:
            self.rewards.append(rollout.reward)

    def describe(self) -> str:
        parts = [self._reward()]
        parts += [f"{self.informative}/{len(self.groups)} groups informative"] if self.groups else []
        parts += [f"{self.summaries} summaries, {self.extractions} extractions"] if self.summaries else []
        parts += [f"{self.lost} lost"] if self.lost else []
        parts += [f"{self.failures} failed"] if self.failures else []
        return " · ".join(parts)

    def _reward(self) -> str:
        if not self.rewards:
            return "no reward yet"
        return f"reward {sum(self.rewards) / len(self.rewards):.2f}{self.half_width} (n={len(self.rewards)})"


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: list[Any] = [
        TextColumn("{task.fields[title]}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    ]
    return Progress(*columns, console=console, transient=True)


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
