"""`tfgrpo paper --dry-run`: what would run, and what it is expected to take."""

from __future__ import annotations

from collections.abc import Sequence

from evals.harness.rows import Row
from evals.paper.forecast import ASSUMPTIONS, Amount, Expected, expect
from evals.paper.rows import PartPlan
from evals.paper.tables import SOURCE, PaperTable
from tfgrpo_dspy.cli import price_of, say, section, table_of, warn


def show_forecast(table: PaperTable, plans: Sequence[PartPlan], price: str | None, remarks: Sequence[str]) -> None:
    """Print it.

    Args:
        table: The table.
        plans: Its rows.
        price: `IN,OUT`, in US dollars per million tokens; None for that at which the paper's run comes to its cost.
        remarks: What a reader must not overlook.

    Raises:
        SettingsError: The price is none.
    """
    expected = [e for plan in plans for e in expect(plan, price_of(price) if price is not None else None)]
    columns = ("row", "learning", "answers", "calls", "tokens in", "tokens out", "cost")
    labels = _labels([e.row for e in expected])
    rows = [_forecast_row(label, e) for label, e in zip(labels, expected, strict=True)]
    section(f"{table.title}: what would run", table_of(columns, rows, numeric=range(2, 7)))
    simulated = all(e.row.task.simulated for e in expected)
    section(
        "In all",
        _in_all(expected, price),
        *(["A simulated LM costs nothing: these are the figures of a real one."] if simulated else []),
        ASSUMPTIONS,
        f"The paper's own run to learn ({SOURCE}): about $18, 38M + 6.6M tokens; to answer: about $0.02 per problem.",
    )
    for line in remarks:
        warn(line)
    say("\nNothing was run and nothing was written.")


def _forecast_row(label: str, expected: Expected) -> tuple[str, ...]:
    total = expected.total
    return (
        label,
        expected.training,
        f"{expected.questions} x {expected.row.task.k}",
        f"{total.calls:,.0f}",
        f"{total.prompt_tokens / 1e6:.2f}M",
        f"{total.completion_tokens / 1e6:.2f}M",
        f"${total.cost_usd:.2f}",
    )


def _in_all(expected: Sequence[Expected], price: str | None) -> str:
    whole = sum((e.total for e in expected), Amount())
    at = price or "0.18,1.68, at which the paper's tokens come to its cost"
    tokens = f"{whole.prompt_tokens / 1e6:.1f}M + {whole.completion_tokens / 1e6:.1f}M tokens"
    return f"{whole.calls:,.0f} calls, {tokens}, ${whole.cost_usd:.2f} at a price per million of {at}"


def _labels(rows: Sequence[Row]) -> list[str]:
    """What tells rows apart, and the optimizer in any case."""
    parts = [
        (row.task.name.removeprefix("paper-"), row.task.model, row.task.program, f"seed {row.seed}") for row in rows
    ]
    differ = [len({part[at] for part in parts}) > 1 for at in range(4)]
    return [
        ", ".join([*(text for text, shown in zip(part, differ, strict=True) if shown), row.optimizer])
        for part, row in zip(parts, rows, strict=True)
    ]
