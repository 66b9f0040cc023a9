"""What a run is set up with besides its settings: who scores, reflects, rules and listens, and where it works."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import Gate
from tfgrpo_dspy.gates.review import Review
from tfgrpo_dspy.lm.budget import Spent
from tfgrpo_dspy.records.events import Observer
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.runtime.executor import Executor, Threads
from tfgrpo_dspy.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Of one run; see `TrainingFreeGRPO` for what each is."""

    metric: Metric
    reflection_lm: dspy.BaseLM | None
    gate: Gate | None
    review: Review | None
    executor: Executor
    observers: tuple[Observer, ...]
    log_dir: str | PathLike[str] | None
    restart: bool
    spent: Spent

    def unrecorded(self, spent: Spent) -> Setup:
        """The same with no records and nobody listening, and more that counts against the budget."""
        return replace(self, observers=(), log_dir=None, spent=self.spent + spent)


def check_executor(executor: str | Executor, settings: Settings) -> Executor:
    """The executor that is meant.

    Raises:
        SettingsError: There is none of that name, or the settings ask for what it cannot do.
        MissingExtraError: It needs a package that is not installed.
    """
    chosen = _executor_of(executor)
    if settings.budget is not None and not chosen.is_local:
        raise SettingsError(
            "a budget is kept in one process only, so it cannot be combined with rollouts in others; leave the budget "
            'out, or take executor="threads"'
        )
    return chosen


def _executor_of(executor: str | Executor) -> Executor:
    if executor == "threads":
        return Threads()
    if executor == "ray":
        from tfgrpo_dspy.rollouts.ray import RayExecutor

        return RayExecutor()
    if isinstance(executor, str) or not callable(getattr(executor, "open", None)):
        raise SettingsError(f'executor must be "threads", "ray" or a RayExecutor(...), got {executor!r}')
    return executor


def listeners(
    tracking: bool | str | Observer, observers: Sequence[Observer], display_progress: bool | None
) -> tuple[Observer, ...]:
    """The progress display and the tracking that were asked for, and further observers."""
    made: list[Observer] = []
    if display_progress if display_progress is not None else sys.stderr.isatty():
        from tfgrpo_dspy.observers.progress import ProgressBar

        made.append(ProgressBar())
    if tracking is True or isinstance(tracking, str):
        from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

        made.append(MLflowTracking(tracking) if isinstance(tracking, str) else MLflowTracking())
    elif callable(tracking):
        made.append(tracking)
    return (*made, *observers)
