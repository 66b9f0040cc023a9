"""One compile, whoever the optimizer is: what it learned, and what it took, seen through DSPy's callbacks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from evals.harness.learned import curve_of, learned_by
from evals.harness.rows import LIBRARY, PROGRAM, Learned, Point, Row, Took, step_library
from optimizers.scaling import accepted
from tfgrpo_dspy import CompileResult, Observer, TFGRPOError, TrainingFreeGRPO, Usage, write_library
from tfgrpo_dspy.kit import OutOfBudget, usage_of


class Unanswered(TFGRPOError):
    """What a row is to be was not made to the end, as an endpoint was away or a disk took no more."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a compile gave."""

    program: dspy.Module
    took: Took
    resumed: bool
    """Whether it was taken up after a kill."""
    is_same: bool
    """Whether the folder held this very program already."""
    learned: Learned
    curve: tuple[Point, ...]


class Account(BaseCallback):
    """Adds up the LM calls made in a `dspy.context(callbacks=[..., account])`, in any thread that inherits it.

    Args:
        show: Called with the number of calls so far, after each, from any thread.
    """

    def __init__(self, show: Callable[[int], None] = lambda calls: None) -> None:
        self._usage = Usage()
        self._open: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._show = show

    @property
    def usage(self) -> Usage:
        """Up to now."""
        with self._lock:
            return self._usage

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        self._open[call_id] = instance

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        lm = self._open.pop(call_id, None)
        if lm is None or isinstance(exception, OutOfBudget):  # it was not made
            return
        usage = Usage(lm_calls=1) if exception is not None else usage_of(lm, outputs)
        with self._lock:
            self._usage += usage
        self._show(self._usage.lm_calls)


def train(
    row: Row, folder: Path, *, num_threads: int, observers: Sequence[Observer] = (), show: Callable[[int], None]
) -> Trained:
    """Compile the task's student with the row's optimizer, and keep the program in the folder.

    Args:
        row: What to train.
        folder: Gets `program.json`, `library.json` if there is one, that after every step, and the store of
            Training-Free GRPO.
        num_threads: LM calls at once.
        observers: For a compile of Training-Free GRPO.
        show: Called with the number of LM calls so far.

    Raises:
        Unanswered: It did not come to its own end.
        Exception: Whatever the optimizer raises.
    """
    task, data, log_dir = row.task, row.data, folder / "log"
    resumed, student, account = log_dir.exists(), task.student(), Account(show)
    made = row.make(row.optimizer, task.metric, row.seed, calls=row.calls)
    optimizer = _equipped(made, log_dir, observers)
    given = {"trainset": list(data.train), **({"valset": list(data.val)} if data.val else {})}
    given = accepted(optimizer, given)
    started = time.perf_counter()
    callbacks = [*dspy.settings.callbacks, account]
    with dspy.context(lm=task.lm(row.seed), callbacks=callbacks, num_threads=num_threads):
        program = optimizer.compile(student, **given)
    result = getattr(program, "detailed_results", None)
    if isinstance(result, CompileResult) and result.ended.how in {"outage", "disk"}:
        raise Unanswered(result.ended.why)  # its score would be that of less than its calls
    took = Took(_whole_usage(account, program), time.perf_counter() - started)
    is_same = _keep(program, folder)
    return Trained(program, took, resumed, is_same, learned_by(student, program), curve_of(program))


def _keep(program: dspy.Module, folder: Path) -> bool:
    """Save the program; returns whether the folder held it already."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PROGRAM
    before = path.read_bytes() if path.exists() else None
    program.save(path)
    library = getattr(program, "experience_library", None)
    if library is not None:
        write_library(library, folder / LIBRARY)
    result = getattr(program, "detailed_results", None)
    for record in result.steps if isinstance(result, CompileResult) else ():
        kept = step_library(folder, record.step)
        kept.parent.mkdir(exist_ok=True)
        write_library(record.library, kept)
    return path.read_bytes() == before


@dataclass(frozen=True, slots=True)
class _EquippedPlan:
    """The plan of an optimizer that is fitted to its data: the Training-Free GRPO that it makes is equipped."""

    plan: Callable[[Any], Any]
    log_dir: Path
    observers: Sequence[Observer]

    def __call__(self, task: Any) -> Any:
        fitted = self.plan(task)
        _equipped(fitted.optimizer, self.log_dir, self.observers)
        return fitted


def _equipped(optimizer: Any, log_dir: Path, observers: Sequence[Observer]) -> Any:
    """The optimizer; one of ours keeps a store and is listened to."""
    if isinstance(optimizer, TrainingFreeGRPO):
        listening = (*optimizer.setup.observers, *observers)
        optimizer.setup = replace(optimizer.setup, log_dir=log_dir, observers=listening)
    elif callable(plan := getattr(optimizer, "plan", None)):
        optimizer.plan = _EquippedPlan(plan, log_dir, observers)
    return optimizer


def _whole_usage(account: Account, program: dspy.Module) -> Usage:
    """All calls of the training: a run that was taken up knows of those before the kill as well."""
    result = getattr(program, "detailed_results", None)
    told = [result.usage] if isinstance(result, CompileResult) else []
    return max((account.usage, *told), key=lambda usage: usage.lm_calls)
