"""The optimizers of the paper's tables: the line-up's, ours with a setting changed, and a library from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.ablations import tfgrpo
from optimizers.registry import make_optimizer
from optimizers.scaling import AtBudget, Fitted, Plan, Task
from tfgrpo_dspy import DataError, MajorityVote, SettingsError, TrainingFreeGRPO, attach, read_library
from tfgrpo_dspy.rewards import Metric

_CHANGED = re.compile(r"(?P<name>[a-z-]+)\[(?P<settings>[a-z_]+=\d+(?:,[a-z_]+=\d+)*)\]")


def paper_optimizer(name: str, metric: Metric, seed: int = 0, *, calls: int | None = None) -> Teleprompter:
    """The optimizer of that name; Training-Free GRPO reflects at temperature 0, as in the authors' code for the paper.

    Args:
        name: Of the line-up, or `tfgrpo[epochs=5]` and `tfgrpo-no-ground-truth[group_size=3]` for other settings.
        metric: As for `make_optimizer`; so are the others.
        seed: Of the optimizer.
        calls: LM calls that compile may take.

    Raises:
        SettingsError: There is none of that name, or its settings cannot be changed.
    """
    found = _CHANGED.fullmatch(name)
    if found is None:
        return _reflecting_coldly(make_optimizer(name, metric, seed, calls=calls))
    settings = settings_in(name)
    match found["name"]:
        case "tfgrpo":
            return _reflecting_coldly(tfgrpo(metric, seed, calls, **settings))
        case "tfgrpo-no-ground-truth":
            made = tfgrpo(MajorityVote(), seed, calls, use_ground_truth=False, **settings)
            return _reflecting_coldly(made)
    raise SettingsError(f"the settings of {found['name']} cannot be changed here; only those of tfgrpo can")


def _reflecting_coldly(optimizer: Teleprompter) -> Teleprompter:
    if isinstance(optimizer, AtBudget):
        optimizer.plan = _ColdReflection(optimizer.plan)
    return optimizer


@dataclass(frozen=True, slots=True)
class _ColdReflection:
    """A plan whose Training-Free GRPO has the LM of the context reflect at temperature 0."""

    plan: Plan

    def __call__(self, task: Task) -> Fitted:
        """The optimizer and what it is given."""
        fitted, lm = self.plan(task), dspy.settings.lm
        optimizer = fitted.optimizer
        if isinstance(optimizer, TrainingFreeGRPO) and lm is not None:
            optimizer.setup = replace(optimizer.setup, reflection_lm=lm.copy(temperature=0.0))
        return fitted


def settings_in(name: str) -> dict[str, int]:
    """`{"epochs": 5}` of `tfgrpo[epochs=5]`; empty for a name without settings."""
    found = _CHANGED.fullmatch(name)
    pairs = found["settings"].split(",") if found is not None else []
    return {key: int(value) for key, value in (pair.split("=") for pair in pairs)}


@dataclass(frozen=True)
class FromElsewhere:
    """Makes an optimizer that attaches what another row has learned.

    Args:
        path: The other row's library; read when the row is trained.
        source: What to call that row.
    """

    path: Path
    source: str

    def __call__(self, name: str, metric: Metric, seed: int = 0, *, calls: int | None = None) -> Teleprompter:
        """The optimizer; metric, seed and budget have nothing left to decide.

        Raises:
            DataError: The other row has no library.
        """
        if not self.path.exists():
            raise DataError(f"{self.source} left no library to carry over: see why that row failed, and run again")
        return _Attaching(self.path)


class _Attaching(Teleprompter):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def compile(self, student: dspy.Module, trainset: list[dspy.Example], **_: object) -> dspy.Module:
        """The student with the library of that file."""
        return attach(student, read_library(self._path))
