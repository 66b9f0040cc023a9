"""How a run ends: which library it keeps, and what it leaves undone. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tfgrpo_dspy.errors import ReviewStop
from tfgrpo_dspy.looks.secrets import SECRETS
from tfgrpo_dspy.records.ended import Ended, How
from tfgrpo_dspy.records.result import CompileResult, StepRecord

if TYPE_CHECKING:
    from tfgrpo_dspy.records.evaluation import Evaluation, Gain


def best_step(validations: Sequence[Evaluation | None]) -> int | None:
    """The step, from 0 for the library to start from, that did best; the earlier of equals.

    None if there was no validation, or the run was stopped before the last library was judged: it is what was learned.
    """
    last = validations[-1]
    if last is None or last.stopped_by is not None:
        return None
    judged = [(v.mean.value, -i) for i, v in enumerate(validations) if v is not None and v.stopped_by is None]
    return -max(judged)[1]


def what_was_next(records: Sequence[StepRecord], steps: int) -> str:
    """What a run that ended in good order before its last step would have done."""
    last = records[-1] if records else None
    missing = [r for g in last.groups for r in g.lost if r.cause == "budget"] if last is not None else []
    undone = Counter(f.stage for f in last.failures if not f.is_error) if last is not None else Counter()
    left = max(steps - len(records), 0)
    next_up = [
        *([f"{len(missing)} rollouts of step {len(records)}"] if missing else []),
        *(f"{count} {stage} calls of step {len(records)}" for stage, count in undone.items()),
        *([f"{left} more of {steps} steps"] if left else []),
    ]
    return ", ".join(next_up) or "the last validation"


def ended(
    error: BaseException | None, stopped_by: str | None, records: Sequence[StepRecord], steps: int, kept: str
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


def _how(error: BaseException | None, stopped_by: str | None) -> tuple[How, str]:
    if isinstance(error, ReviewStop):
        return "review", str(error)
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted", ""
    if error is not None:
        return "error", SECRETS.hide(f"{type(error).__name__}: {error}")
    if stopped_by is None:
        return "done", ""
    early: dict[str, How] = {"max_outage": "outage", "patience": "patience"}
    return early.get(stopped_by.partition("=")[0], "limit"), stopped_by


def stopped(error: BaseException, steps: int, result: CompileResult) -> str:
    """What is said of a run that an error ended."""
    return SECRETS.hide(
        f"the run stopped after {len(result.steps)} of {steps} steps: {type(error).__name__}: {error}; what was "
        f"learned ({len(result.library)} experiences) is in `.result.library` of this error"
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
    """Epochs since the last that brought progress.

    With a valset, progress is a higher mean on it than any before; without, a library that changed, which with a gate
    means that something passed it.
    """
    since: dict[int, bool] = {}
    best = initial.mean.value if initial is not None else None
    for record in records:
        moved = any(change.kind != "keep" for change in record.changes)
        judged = record.validation
        if best is not None and judged is not None:
            moved = judged.mean.value > best
            best = max(best, judged.mean.value)
        since[record.epoch] = since.get(record.epoch, False) or moved
    idle = 0
    for moved in reversed(since.values()):
        if moved:
            break
        idle += 1
    return idle
