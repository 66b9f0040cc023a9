"""What production recorded in MLflow, as rollouts to learn from: traces with assessments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.errors import DataError, MissingExtraError
from tfgrpo_dspy.program.transcript import render_values
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.rollouts.past import PastRollouts

if TYPE_CHECKING:
    from mlflow.entities import Span, Trace


_WORDS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "correct": 1.0, "incorrect": 0.0, "pass": 1.0, "fail": 0.0}
"""What assessments say in words, MLflow's own judges and people alike."""


def past_rollouts_of(
    traces: Iterable[Trace], *, assessment: str | None = None, metric: Metric | None = None
) -> PastRollouts:
    """The attempts that MLflow traces hold, e.g. `mlflow.search_traces(..., return_type="list")`.

    A trace is an attempt: its root span's inputs and outputs, what its other spans did, and its assessment as the
    reward, with the rationale as feedback. An expectation is a label of that name. Traces of the same inputs are a
    group. Traces that failed, and those without the assessment where no metric is given, are left out.

    Args:
        traces: In order.
        assessment: Name of the feedback that is the reward: a number, a bool, or yes and no in words. None takes the
            only one that a trace has.
        metric: Gives the reward of traces that have no such feedback.

    Raises:
        DataError: No trace can be used; the message says why.
        MissingExtraError: MLflow is not installed.
    """
    try:
        from mlflow.entities import Trace  # noqa: F401 - says what is missing before anything is read
    except ImportError as missing:
        raise MissingExtraError("traces are MLflow's: pip install 'tfgrpo-dspy[mlflow]'") from missing
    found = list(traces)
    rows = [row for trace in found if (row := _row(trace, assessment, needed=metric is None)) is not None]
    if not rows:
        named = f"named {assessment!r}" if assessment else "that is the only one"
        raise DataError(
            f"none of {len(found)} traces is an attempt with inputs, outputs and a feedback {named}; name the feedback "
            "by assessment=, or pass a metric"
        )
    return PastRollouts.of(rows, metric)


def _row(trace: Trace, assessment: str | None, *, needed: bool) -> dict[str, Any] | None:
    root = next((span for span in trace.data.spans if span.parent_id is None), None)
    if root is None or root.outputs is None or not isinstance(root.inputs, Mapping) or str(trace.info.state) == "ERROR":
        return None
    given = trace.search_assessments(assessment, type="feedback")
    feedback = given[-1] if given and (assessment is not None or len({one.name for one in given}) == 1) else None
    reward = None if feedback is None else _number(feedback.value)
    if reward is None and needed:
        return None
    outputs = root.outputs if isinstance(root.outputs, Mapping) else {"answer": str(root.outputs)}
    expected = {one.name: one.value for one in trace.search_assessments(type="expectation")}
    named = root.inputs.get("kwargs")  # where MLflow's autolog of a module has what it was called with
    inputs = named if isinstance(named, Mapping) and set(root.inputs) <= {"args", "kwargs"} else root.inputs
    return {
        "inputs": dict(inputs),
        "outputs": dict(outputs),
        "reward": reward,
        "feedback": "" if feedback is None else feedback.rationale or "",
        "trajectory": "\n".join(_steps(trace.data.spans)),
        "labels": expected,
    }


def _number(value: object) -> float | None:
    """A judgement as a reward; None for one that is none."""
    if isinstance(value, bool | int | float):
        return float(value)
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def _steps(spans: Iterable[Span]) -> Iterator[str]:
    """What an attempt did, in order: the model calls and tool calls below its root, or else the root itself."""
    made = list(spans)
    inner = [span for span in made if span.parent_id is not None]
    doing = [span for span in inner if span.span_type in {"LLM", "CHAT_MODEL", "TOOL", "RETRIEVER"}] or inner or made
    for number, span in enumerate(sorted(doing, key=lambda span: span.start_time_ns), 1):
        yield f"Step {number}: {'tool ' if span.span_type == 'TOOL' else ''}{span.name}"
        yield render_values({"  in": span.inputs, "  out": span.outputs})
