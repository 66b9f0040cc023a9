"""How a run ends: which library it keeps, and what it leaves undone. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tfgrpo_dspy.evaluation import Evaluation
from tfgrpo_dspy.events import CompileResult, StepRecord


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
    left = steps - len(records)
    next_up = [
        *([f"{len(missing)} rollouts of step {len(records)}"] if missing else []),
        *(f"{count} {stage} calls of step {len(records)}" for stage, count in undone.items()),
        *([f"{left} more of {steps} steps"] if left else []),
    ]
    return ", ".join(next_up) or "the last validation"


def stopped(error: BaseException, steps: int, result: CompileResult) -> str:
    """What is said of a run that an error ended."""
    return (
        f"the run stopped after {len(result.steps)} of {steps} steps: {type(error).__name__}: {error}; what was "
        f"learned ({len(result.library)} experiences) is in `.result.library` of this error"
    )
