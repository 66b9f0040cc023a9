"""A step as one MLflow trace: its rollouts, summaries, extractions and the update hang together below one span.

The trace is made from the step's record when the step is over, so that nothing is slowed while LM calls are paid for,
and only of some groups, so that a long run stays small. What each span took is measured; where it began is not known,
so the spans of a step begin together, and each turn of a rollout where the one before it is shown to end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.program.transcript import Turn, parse_trajectory
from tfgrpo_dspy.program.values import Things, as_text
from tfgrpo_dspy.records.rollouts import Group, Lost, Rollout
from tfgrpo_dspy.text import shorten

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.store import RunStore
    from tfgrpo_dspy.observers.mlflow.tables import Safe
    from tfgrpo_dspy.records.advantages import SemanticAdvantage
    from tfgrpo_dspy.records.result import StepRecord

_TOKENS = 400
"""Estimated tokens of a text that a span shows at most; the rollouts table has all of it."""
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """One span to be."""

    name: str
    kind: str
    """MLflow's span type."""
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    seconds: float = 0.0
    children: tuple[Node, ...] = ()
    failure: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


def step_tree(record: StepRecord, groups: int, tolerance: float) -> Node:
    """The spans of a step.

    Args:
        record: The step.
        groups: How many of its groups are shown; those whose rewards differ come first.
        tolerance: Rewards that differ by no more count as equal.
    """
    ordered = sorted(record.groups, key=lambda group: not group.is_informative(tolerance))
    advantages = {advantage.group: advantage for advantage in record.advantages}
    shown = tuple(_group(group, advantages.get(group.name)) for group in ordered[:groups])
    added = sum(c.kind == "add" for c in record.changes)
    gone = sum(c.kind == "delete" for c in record.changes)
    told = {
        "groups": len(record.groups),
        "groups shown": len(shown),
        "experiences before": len(record.library) - added + gone,
    }
    changes = [f"{c.kind} {c.id}: {c.after or c.before or ''}" for c in record.changes if c.kind != "keep"]
    made = {"changes": changes, "refused": [refusal.reason for refusal in record.refusals]}
    candidates = {a.group: list(a.experiences) for a in record.advantages}
    failures = [f"{f.stage} {f.where}: {f.reason}" for f in record.failures]
    update = Node("update", "CHAIN", candidates, made, failure="; ".join(f for f in failures if f[:6] == "update"))
    result = {"experiences": len(record.library), "failures": failures}
    return Node(f"step {record.step}", "CHAIN", told, result, record.seconds, (*shown, update))


def _group(group: Group, advantage: SemanticAdvantage | None) -> Node:
    things = Things()
    task = {name: as_text(value, things) for name, value in dict(group.example.inputs()).items()}
    rollouts = tuple(rollout_node(rollout) for rollout in group.rollouts)
    rewards = {"rewards": list(group.rewards), "lost": len(group.lost)}
    summaries = (
        ()
        if advantage is None
        else tuple(
            Node(f"summary {s.rollout}", "CHAIN", {"rollout": s.rollout, "reward": s.reward}, {"summary": s.text})
            for s in advantage.summaries
        )
    )
    extraction = () if advantage is None else (_extraction(advantage),)
    longest = max((rollout.seconds for rollout in group.rollouts), default=0.0)
    return Node(group.name, "CHAIN", task, rewards, longest, (*rollouts, *summaries, *extraction))


def _extraction(advantage: SemanticAdvantage) -> Node:
    given = {"summaries": [summary.rollout for summary in advantage.summaries]}
    return Node(
        "extraction",
        "CHAIN",
        given,
        {"comparison": advantage.comparison, "experiences": list(advantage.experiences)},
    )


def rollout_node(rollout: Rollout) -> Node:
    """The span of a rollout, with its turns below it."""
    if isinstance(rollout, Lost):
        return Node(
            f"{rollout.name}, lost", "AGENT", {}, {}, rollout.seconds, failure=f"{rollout.cause}: {rollout.error}"
        )
    turns = parse_trajectory(rollout.trajectory)
    each = rollout.seconds / max(len(turns), 1)
    return Node(
        f"{rollout.name}, reward {rollout.reward:.3g}",
        "AGENT",
        {},
        {"answer": rollout.answer, "reward": rollout.reward, "feedback": rollout.feedback},
        rollout.seconds,
        tuple(_turn(turn, each) for turn in turns),
        rollout.policy_failure or "",
        {"reward": rollout.reward, "tool_calls": rollout.tool_calls, "lm_calls": rollout.usage.lm_calls},
    )


def _turn(turn: Turn, seconds: float) -> Node:
    gave = {value.field or "observation": value.text for value in turn.values if value.role == "out"}
    was_given = {value.field: value.text for value in turn.values if value.role == "in"}
    failure = "; ".join(value.text for value in turn.values if value.role == "failed")
    return Node(turn.name, "TOOL" if turn.is_tool else "LLM", was_given, gave, seconds, failure=failure)


def are_wanted() -> bool:
    """Whether MLflow's tracing is on here and now: the user may have turned it off, as autolog does in a compile."""
    from mlflow.tracing.provider import is_tracing_enabled

    return bool(is_tracing_enabled())


@dataclass(frozen=True, slots=True)
class Besides:
    """What a trace says besides its spans."""

    preview: Mapping[str, Any] = field(default_factory=dict)
    """What it was asked, for the list of traces; its name stands there without."""
    assessments: Sequence[Any] = ()
    """MLflow's."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def put_trace(store: RunStore, *, tree: Node, at: int, safe: Safe, besides: Besides | None = None) -> None:
    """Record the spans as a trace of the run; the same trace again if it is repeated.

    Args:
        store: The run.
        tree: The spans.
        at: When what it shows ended, in milliseconds since 1970.
        safe: Takes credentials out of a text.
        besides: What it says besides its spans.
    """
    from mlflow.entities import Span, TraceInfo, TraceLocation, TraceState
    from mlflow.tracing.client import TracingClient

    besides = besides or Besides()
    number = digest(f"{store.run_id} {tree.name}", 16)
    trace_id, start = f"tr-{number}", at * _MILLION - int(tree.seconds * 1e9)
    spans = [Span.from_dict(data) for data in _spans(tree, trace_id, start, safe)]
    info = TraceInfo(
        trace_id=trace_id,
        trace_location=TraceLocation.from_experiment_id(store.experiment_id),
        request_time=start // _MILLION,
        state=TraceState.ERROR if tree.failure else TraceState.OK,
        request_preview=_text(besides.preview, safe) if besides.preview else tree.name,
        response_preview=_text(tree.outputs, safe),
        execution_duration=int(tree.seconds * 1000),
        trace_metadata={
            "mlflow.sourceRun": str(store.run_id),
            "mlflow.trace_schema.version": "3",
            **besides.metadata,
        },
        tags={"mlflow.traceName": tree.name, **besides.tags},
        assessments=list(besides.assessments),
    )
    client = TracingClient(store.place.uri)
    client.log_spans(str(store.experiment_id), spans)
    client.start_trace(info)


def _spans(tree: Node, trace_id: str, start: int, safe: Safe) -> Iterable[dict[str, Any]]:
    """The tree as MLflow's span dictionaries, parents first."""
    waiting: list[tuple[Node, str, str | None, int]] = [(tree, "0", None, start)]
    while waiting:
        node, path, parent, begins = waiting.pop(0)
        id = digest(f"{trace_id} {path}", 8)
        attributes = {
            "mlflow.traceRequestId": json.dumps(trace_id),
            "mlflow.spanType": json.dumps(node.kind),
            "mlflow.spanInputs": _text(node.inputs, safe),
            "mlflow.spanOutputs": _text(node.outputs, safe),
            **{name: json.dumps(value) for name, value in node.attributes.items()},
        }
        status = {"code": "STATUS_CODE_ERROR" if node.failure else "STATUS_CODE_OK", "message": safe(node.failure)}
        yield {
            "trace_id": trace_id,
            "span_id": id,
            "parent_span_id": parent,
            "name": safe(node.name),
            "start_time_unix_nano": begins,
            "end_time_unix_nano": begins + int(node.seconds * 1e9),
            "attributes": attributes,
            "status": status,
            "events": [],
        }
        for position, child in enumerate(node.children):
            waiting.append((child, f"{path}.{position}", id, begins))
            if child.kind in {"TOOL", "LLM"}:
                begins += int(child.seconds * 1e9)


def _text(values: Mapping[str, Any], safe: Safe) -> str:
    return json.dumps({name: _shown(value, safe) for name, value in values.items()}, ensure_ascii=False)


def _shown(value: Any, safe: Safe) -> Any:
    if isinstance(value, str):
        return safe(shorten(value, _TOKENS))
    if isinstance(value, Sequence):
        return [_shown(item, safe) for item in value]
    return value


def digest(text: str, size: int) -> str:
    """Hexadecimal digits that stand for a text, two for each of `size` bytes."""
    return blake2b(text.encode(), digest_size=size).hexdigest()
