"""What a run is set up with besides its settings: who scores, reflects, rules and listens, and where it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import ClassVar

import dspy

from tfgrpo_dspy.declaration import check_settings, like, setting
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import Gate
from tfgrpo_dspy.lm.budget import Spent
from tfgrpo_dspy.records.decisions import Review
from tfgrpo_dspy.records.events import Observer
from tfgrpo_dspy.rewards.reward import GroupMetric, Metric, check_metric
from tfgrpo_dspy.runtime.executor import Executor, Threads
from tfgrpo_dspy.settings import Settings


def _rules(gate: object) -> bool:
    return callable(getattr(gate, "rule", None)) and not isinstance(gate, type)


def _opens(executor: object) -> bool:
    return callable(getattr(executor, "open", None)) and not isinstance(executor, type)


def _are_observers(given: object) -> bool:
    return isinstance(given, Sequence) and all(callable(observer) for observer in given)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Of one run: the keywords of `TrainingFreeGRPO` that are no `Settings`, because they hold more than a value.

    Raises:
        SettingsError: One of them cannot be used.
    """

    group: ClassVar[str] = "records"

    metric: Metric
    reflection_lm: dspy.BaseLM | None = setting(
        None,
        "The LM that summarises, compares and updates; `None` takes the configured one.",
        like("a `dspy.LM(...)`", dspy.BaseLM),
        group="method",
    )
    gate: Gate | None = setting(
        None,
        "Decides which operations of a step may enter: `Holdout(examples)` measures on held-out problems; of several, "
        "one rules after the other. `None` applies what the update says.",
        like("a gate such as `Holdout(examples)`", where=_rules),
        group="safeguards",
    )
    review: Review | None = setting(
        None,
        "Called with the library and the proposals of a step before they are applied, returns a `Decision` for each "
        "(accept, edit or refuse). `None` asks nobody.",
        like("a function of library and proposals", where=callable),
        group="safeguards",
    )
    executor: Executor = setting(
        Threads(),
        'Where rollouts run: `"threads"` of this process, `"ray"`, or a `RayExecutor(address=...)`; the library is the '
        "same, and a budget holds for all of it.",
        like('`"threads"`, `"ray"` or a `RayExecutor(...)`', where=_opens),
        group="endpoint",
    )
    log_dir: str | PathLike[str] | None = setting(
        None,
        "Folder for the run's store; `None` keeps none. A run that was killed is taken up by calling `compile` again "
        "with the same arguments: it ends in the same library and pays only for what was in flight.",
        like("a folder", str, PathLike),
        read=Path,
        metavar="DIR",
    )
    restart: bool = setting(False, "Whether a run that is in `log_dir` is put aside, and this one starts over.")
    accept_changes: bool = setting(
        False,
        "Whether a run in `log_dir` is gone on with though program, metric, data, LM, settings or versions changed "
        "since; what changed is noted. By default it is refused, with the list.",
    )
    identity: str | None = setting(
        None,
        "What your program, metric and data are, where a run that is taken up could not tell whether they changed (an "
        "index behind a client, say), e.g. a version: another one is refused.",
    )
    display_progress: bool = setting(
        True, "Whether progress is shown: a bar on a terminal, elsewhere a line at each step and a line a minute."
    )
    tracking: bool | str | Observer = setting(
        False,
        "`True` records to MLflow, a text does under that experiment name, an `MLflowTracking` as it says.",
        like("`True`, `False`, an experiment's name or an observer", bool, str, where=callable),
    )
    observers: Sequence[Observer] = setting(
        (),
        "Further listeners, each called with every `Event`.",
        like("a sequence of functions that take one event", where=_are_observers),
    )
    spent: Spent = Spent()
    """What counts against the budget before the run begins."""

    def __post_init__(self) -> None:
        check_metric(self.metric)
        object.__setattr__(self, "executor", _executor_of(self.executor))
        check_settings(self)

    @property
    def listeners(self) -> list[Observer]:
        """The progress display, the further observers, and last the tracking, as the end of a run waits for it."""
        made: list[Observer] = []
        if self.display_progress:
            from tfgrpo_dspy.observers.progress import ProgressBar

            made.append(ProgressBar())
        made += self.observers
        if self.tracking is True or isinstance(self.tracking, str):
            from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

            made.append(MLflowTracking(self.tracking) if isinstance(self.tracking, str) else MLflowTracking())
        elif callable(self.tracking):
            made.append(self.tracking)
        return made

    def unrecorded(self, spent: Spent) -> Setup:
        """The same with no records and nobody listening, and more that counts against the budget."""
        return replace(
            self, tracking=False, observers=(), display_progress=False, log_dir=None, spent=self.spent + spent
        )


def check_together(setup: Setup, settings: Settings) -> None:
    """Raises `SettingsError` for what does not go together."""
    if settings.min_group_size is not None and isinstance(setup.metric, GroupMetric):
        raise SettingsError(
            f"`min_group_size={settings.min_group_size}` lets a group grow while its rewards are equal, but this "
            "metric scores whole groups; leave one of the two out"
        )


def _executor_of(executor: object) -> object:
    """The executor that a name stands for.

    Raises:
        MissingExtraError: It needs a package that is not installed.
    """
    if executor == "ray":
        from tfgrpo_dspy.rollouts.ray.executor import RayExecutor

        return RayExecutor()
    return Threads() if executor == "threads" else executor
