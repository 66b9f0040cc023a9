"""How reward and tool calls went, step by step and on the test questions, for programs that use tools."""

from __future__ import annotations

from collections.abc import Iterator

from evals.reports.grid import Grid
from evals.scoring.table import Line, Table
from evals.scoring.verdicts import estimate_text

_COLUMNS = ("optimizer", "seed", "step", "reward [95%]", "tool calls", "entries")
_NOTE = (
    "Reward and tool calls per rollout: at a step, of its training batch, read with what was learned before it; at "
    "`test`, of the test questions, all seeds together. Entries: of the library after the step."
)


def steps_of(table: Table) -> Grid | None:
    """The table of steps; None if no program called a tool."""
    rows = tuple(row for line in table.lines for row in _rows(line))
    return Grid("Reward and tool calls by step", _COLUMNS, rows, _NOTE) if _uses_tools(table) else None


def _uses_tools(table: Table) -> bool:
    points = (point.tool_calls for line in table.lines for row in line.rows for point in row.curve)
    return any(line.tool_calls for line in table.lines) or any(points)


def _rows(line: Line) -> Iterator[tuple[str, ...]]:
    for row in line.rows:
        for point in row.curve:
            reward = estimate_text(point.reward) if point.reward is not None else "unknown"
            calls = f"{point.tool_calls:.2f}"
            yield line.label, str(row.seed), str(point.step), reward, calls, str(point.size)
    if line.mean is not None:
        yield line.label, "all", "test", estimate_text(line.mean), f"{line.tool_calls:.2f}", ""
