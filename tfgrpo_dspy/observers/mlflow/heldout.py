"""The answer to the question that a run was made for, in MLflow: how bare and learned program did on held-out data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tfgrpo_dspy.observers.metrics import heldout_metrics
from tfgrpo_dspy.observers.mlflow import tables
from tfgrpo_dspy.observers.mlflow.figures import heldout_figure
from tfgrpo_dspy.observers.mlflow.tables import Safe

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.writer import Write
    from tfgrpo_dspy.records.evaluation import Comparison, Evaluation

BARE, LEARNED = "bare", "learned"


def heldout_writes(
    evaluations: Mapping[str, Evaluation], gain: Comparison | None, safe: Safe, at: int
) -> Iterator[tuple[str, Write]]:
    """What is recorded of one program or of both, each with what would be missing without it."""
    numbers = heldout_metrics(evaluations, gain.difference if gain is not None else None)
    yield "the held-out scores", lambda store: store.put_metrics(numbers, step=0, at=at, tags={})
    table = tables.heldout_table(evaluations, safe)
    yield "tables/heldout.json", lambda store: store.put_table("tables/heldout.json", table)
    yield (
        "figures/heldout.png",
        lambda store: store.put_figure("figures/heldout.png", heldout_figure(evaluations, gain)),
    )
