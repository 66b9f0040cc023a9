"""The answer to the question that a run was made for, in MLflow: how bare and learned program did on held-out data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from tfgrpo_dspy.observers.metrics import heldout_metrics
from tfgrpo_dspy.observers.mlflow import tables
from tfgrpo_dspy.observers.mlflow.figures import heldout_figure
from tfgrpo_dspy.observers.mlflow.store import RunStore

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.tables import Safe
    from tfgrpo_dspy.records.evaluation import Comparison, Evaluation

BARE, LEARNED = "bare", "learned"


def heldout_writes(
    evaluations: Mapping[str, Evaluation], gain: Comparison | None, safe: Safe, at: int
) -> Iterator[tuple[str, partial[None]]]:
    """What is recorded of one program or of both, each with what would be missing without it."""
    numbers = heldout_metrics(evaluations, gain.difference if gain is not None else None)
    yield "the held-out scores", partial(RunStore.put_metrics, metrics=numbers, step=0, at=at, tags={})
    table = tables.heldout_table(evaluations, safe)
    yield "tables/heldout.json", partial(RunStore.put_table, path="tables/heldout.json", table=table)
    yield "figures/heldout.png", partial(_put_figure, evaluations=evaluations, gain=gain)


def _put_figure(store: RunStore, *, evaluations: Mapping[str, Evaluation], gain: Comparison | None) -> None:
    store.put_figure("figures/heldout.png", heldout_figure(evaluations, gain))
