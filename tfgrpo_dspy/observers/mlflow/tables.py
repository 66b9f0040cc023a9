"""The tables that are recorded: column name to cells, every cell a JSON value, texts safe and of bounded length."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.library.operations import operation_id
from tfgrpo_dspy.looks import look
from tfgrpo_dspy.observers.mlflow.store import DatasetFacts
from tfgrpo_dspy.program.values import Things, as_text
from tfgrpo_dspy.records.rollouts import Group, Lost

if TYPE_CHECKING:
    from tfgrpo_dspy.records.effects import Effect
    from tfgrpo_dspy.records.evaluation import Evaluation
    from tfgrpo_dspy.records.result import StepRecord

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
Table = dict[str, list[Cell]]
Safe = Callable[[str], str]

_CELL = 4000
"""Characters of a cell at most: the UI loads a table whole. The store of a run has the full texts."""


def table(columns: Sequence[str], rows: Iterable[Row], safe: Safe) -> Table:
    """Rows as columns; a column that a row lacks is empty there."""
    shown = [[_cell(row.get(column), safe) for column in columns] for row in rows]
    return {column: [row[at] for row in shown] for at, column in enumerate(columns)}


def operations_table(record: StepRecord, safe: Safe) -> Table:
    """Every operation of a step: what it changed and on which evidence, or why it was refused."""
    rows: list[Row] = [
        {
            "operation": change.kind,
            "id": change.id or "",
            "outcome": _OUTCOMES.get(change.by, "done"),
            "before": change.before or "",
            "after": change.after or "",
            "reason": change.reason,
            "sources": "; ".join(
                f"{s.example} ({', '.join(s.rollouts)})" if s.rollouts else s.example for s in change.sources
            ),
        }
        for change in record.changes
    ]
    rows += [
        {
            "operation": refused.op,
            "id": operation_id(refused) or "",
            "outcome": f"refused: {reason}",
            "before": "",
            "after": getattr(refused, "text", ""),
            "reason": refused.reason,
            "sources": ", ".join(refused.sources),
        }
        for refused, reason in ((refusal.operation, refusal.reason) for refusal in record.refusals)
    ]
    return table(("operation", "id", "outcome", "before", "after", "reason", "sources"), rows, safe)


def rollouts_table(groups: Sequence[Group], safe: Safe) -> Table:
    """Every rollout of a step, lost ones included; with the parts of its reward if that is a composite one."""
    parts = ("parts",) if any(r.parts for g in groups for r in g.scored) else ()
    columns = ("rollout", "reward", *parts, "outcome", "inputs", "answer", "feedback", "tool_calls", "seconds")
    rows: list[Row] = []
    for group, made in ((each, made) for each in groups for made in each.rollouts):
        row: dict[str, Cell] = {"rollout": made.name, "seconds": round(made.seconds, 3), "inputs": _inputs(group)}
        if isinstance(made, Lost):
            row |= {"answer": "", "feedback": "", "outcome": f"lost ({made.cause}): {made.error}"}
        else:
            row |= {"reward": made.reward, "parts": ", ".join(f"{name} {value:g}" for name, value in made.parts)}
            row |= {"feedback": made.feedback, "answer": made.answer, "tool_calls": made.tool_calls}
            row["outcome"] = f"policy failed: {made.policy_failure}" if made.policy_failure is not None else "scored"
        rows.append(row)
    return table(columns, rows, safe)


def advantages_table(record: StepRecord, safe: Safe) -> Table:
    """The semantic advantage of every informative group: why some of its rollouts won."""
    rows: list[Row] = [
        {
            "group": a.group,
            "task": a.task,
            "comparison": a.comparison,
            "experiences": "\n".join(a.experiences),
            "misled by": a.misled_by or "",
            "summaries": "\n\n".join(f"{s.rollout}, reward {s.reward:g}: {s.text}" for s in a.summaries),
        }
        for a in record.advantages
    ]
    return table(("group", "task", "comparison", "experiences", "misled by", "summaries"), rows, safe)


def effects_table(effects: Sequence[Effect], safe: Safe) -> Table:
    """What each experience was measured to do so far, with its interval and what it rests on."""
    rows: list[Row] = [
        {
            "id": e.id,
            "text": e.text,
            "verdict": e.verdict,
            "effect_where_it_applies": e.value,
            "low": e.low,
            "high": e.high,
            "overall": e.overall,
            "overall_low": e.overall_low,
            "overall_high": e.overall_high,
            "shrunken": e.shrunken,
            "n_with": e.n_with,
            "n_without": e.n_without,
            "against": e.against or "",
        }
        for e in effects
    ]
    return table(_columns(rows), rows, safe)


def of_story(told: look.Table, safe: Safe) -> Table:
    """A table of the run's story, as it is."""
    return table(told.columns, (dict(zip(told.columns, row, strict=True)) for row in told.rows), safe)


def heldout_table(evaluations: Mapping[str, Evaluation], safe: Safe) -> Table:
    """Every held-out question: its inputs, what each program scored on it, and what it first answered."""
    groups = next(iter(evaluations.values())).groups
    columns = ["question", *(f"{name}{what}" for name in evaluations for what in ("", " rewards", " first answer"))]
    rows: list[Row] = []
    for at, group in enumerate(groups):
        row: dict[str, Cell] = {"question": _inputs(group)}
        for name, made in evaluations.items():
            scored = made.groups[at].scored
            row[name] = sum(r.reward for r in scored) / len(scored) if scored else None
            row[f"{name} rewards"] = ", ".join(f"{r.reward:g}" for r in scored)
            row[f"{name} first answer"] = scored[0].answer if scored else ""
        rows.append(row)
    return table(columns, rows, safe)


def examples_table(examples: Sequence[dspy.Example], safe: Safe) -> Table:
    """A dataset; `name` is what rollouts and sources call an example."""
    rows = [{"name": f"e{i}", **_shown(example)} for i, example in enumerate(examples)]
    return table(_columns(rows), rows, safe)


def dataset_facts(name: str, context: str, examples: Sequence[dspy.Example]) -> DatasetFacts:
    """Name, content hash and size of a dataset; equal data have equal digests, in any process."""
    rows = [{str(name): str(value) for name, value in example.items()} for example in examples]
    text = json.dumps(rows, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return DatasetFacts(name, context, digest, _columns(rows), len(rows))


def _columns(rows: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows for name in row))


def _shown(example: Mapping[str, object]) -> dict[str, str]:
    things = Things()
    return {str(name): as_text(value, things) for name, value in example.items()}


_OUTCOMES = {"trial": "by trial", "condense": "condensed", "trim": "trimmed", "person": "edited"}


def _inputs(group: Group) -> str:
    return "\n".join(f"{name}: {value}" for name, value in group.example.inputs().items())


def _cell(value: Cell, safe: Safe) -> Cell:
    if not isinstance(value, str):
        return value
    text = safe(value.encode("utf-8", "replace").decode("utf-8"))
    left_out = len(text) - _CELL
    return text if left_out <= 0 else f"{text[:_CELL]} [... {left_out} more characters]"
