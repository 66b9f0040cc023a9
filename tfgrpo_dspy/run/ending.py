"""How a run ends: which library it keeps, and what it leaves undone. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tfgrpo_dspy.errors import ReviewStop
from tfgrpo_dspy.lm.budget import Reason
from tfgrpo_dspy.looks.secrets import SECRETS
from tfgrpo_dspy.records.ended import Ended, How
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import example_of
from tfgrpo_dspy.statistics.estimates import paired_difference
from tfgrpo_dspy.text import counted

ALLOWED = 0.1
"""Chance that one of the libraries before the last is kept though it is no better."""
ONE_ERROR = 0.68
"""Level of an interval that reaches one error to each side."""

if TYPE_CHECKING:
    from tfgrpo_dspy.records.evaluation import Evaluation, Gain


def best_step(validations: Sequence[Evaluation | None]) -> int | None:
    """The step, from 0 for the library to start from, whose library is kept: the last, if none is shown to be better.

    The best of several equal libraries looks better than the last by luck alone, so an earlier one has to be better on
    the same questions beyond what so many tries allow; see `ALLOWED`.

    None if there was no validation, or the run was stopped before the last library was judged: it is what was learned.
    """
    last = validations[-1]
    if last is None or last.stopped_by is not None:
        return None
    judged = [(i, v) for i, v in enumerate(validations[:-1]) if v is not None and v.stopped_by is None]
    level = 1 - 2 * ALLOWED / max(len(judged), 1)
    shown = []
    for step, earlier in judged:
        d = paired_difference(last.rewards, earlier.rewards, level=level)
        if d.verdict == "better":
            shown.append((d.value, -step))
    return -max(shown)[1] if shown else len(validations) - 1


def what_was_next(records: Sequence[StepRecord], steps: int) -> str:
    """What a run that ended in good order before its last step would have done."""
    last = records[-1] if records else None
    missing = [r for g in last.groups for r in g.lost if r.cause == "budget"] if last is not None else []
    undone = Counter(f.stage for f in last.failures if not f.is_error) if last is not None else Counter()
    left = max(steps - len(records), 0)
    next_up = [
        *([f"{counted(len(missing), 'rollout')} of step {len(records)}"] if missing else []),
        *(f"{count} {stage} calls of step {len(records)}" for stage, count in undone.items()),
        *([f"{left} more of {steps} steps"] if left else []),
    ]
    return ", ".join(next_up) or "what follows the last step"


def ended(
    error: BaseException | None, stopped_by: Reason | None, records: Sequence[StepRecord], steps: int, kept: str
) -> Ended:
    """How a run ended.

    Args:
        error: That ended it, if one did.
        stopped_by: The limit that let nothing new start, with its figures; None for none.
        records: Of the steps that were finished.
        steps: That were planned.
        kept: What the next process takes up; empty where nothing is kept.
    """
    how, why = _how(error, stopped_by)
    if how == "done":
        return Ended(after=len(records), planned=steps, kept=kept)
    return Ended(how, why, len(records), steps, what_was_next(records, steps), kept)


def _how(error: BaseException | None, stopped_by: Reason | None) -> tuple[How, str]:
    if isinstance(error, ReviewStop):
        return "review", str(error)
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted", ""
    if error is not None:
        return "error", SECRETS.hide(f"{type(error).__name__}: {error}")
    if stopped_by is None:
        return "done", ""
    return stopped_by.how, str(stopped_by)


def stopped(error: BaseException, steps: int, result: CompileResult) -> str:
    """What is said of a run that an error ended."""
    return SECRETS.hide(
        f"the run stopped after {len(result.steps)} of {steps} steps: {type(error).__name__}: {error}; what was "
        f"learned ({counted(len(result.library), 'experience')}) is in `.result.library` of this error"
    )


def with_gain(result: CompileResult, gain: Gain | None) -> CompileResult:
    """The result with its gain; with the initial library if that is not shown."""
    if gain is None:
        return result
    result = replace(result, gain=gain)
    if not gain.withheld:
        return result
    return replace(result, library=replace(result.initial_library, next_id=result.library.next_id), best_step=None)


def epochs_without_progress(records: Sequence[StepRecord], initial: Evaluation | None) -> int:
    """Epochs since the last in which the reward rose, which the first does.

    The reward is that of the valset after an epoch's steps; without one, that of the rollouts of the epoch, on the same
    examples as in the epochs before. It rose if it is above the best before by more than one error of the difference.
    """
    epochs: dict[int, dict[str, list[float]]] = {}
    for record in records:
        rows = epochs.setdefault(record.epoch, {})
        groups = record.validation.groups if record.validation is not None else record.groups
        if record.validation is not None:
            rows.clear()  # the last validation of an epoch speaks for it
        for group in groups:
            rows.setdefault(example_of(group.name), []).extend(group.fair_rewards)
    best = None if initial is None else {example_of(g.name): list(g.rewards) for g in initial.groups}
    idle = 0
    for rows in epochs.values():
        rose = best is None or _rose(best, rows)
        best, idle = (rows, 0) if rose or best is None else (best, idle + 1)
    return idle


def _rose(before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]) -> bool:
    shared = [name for name in after if before.get(name) and after[name]]
    if not shared:
        return True
    d = paired_difference([before[n] for n in shared], [after[n] for n in shared], level=ONE_ERROR)
    return d.value > 0 and d.low > 0
