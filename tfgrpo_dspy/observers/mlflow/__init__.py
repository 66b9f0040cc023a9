"""MLflow as a listener: a run's parameters, scores, libraries, prompts, traces and model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.about import source_tags, versions
    from tfgrpo_dspy.observers.metrics import estimate_metrics, heldout_metrics, usage_numbers
    from tfgrpo_dspy.observers.mlflow.database import bounded_waiting
    from tfgrpo_dspy.observers.mlflow.model import log_model
    from tfgrpo_dspy.observers.mlflow.prompts import prompt_name
    from tfgrpo_dspy.observers.mlflow.store import RunStore, run_store
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
    from tfgrpo_dspy.observers.mlflow.waiting import wait_for
    from tfgrpo_dspy.observers.mlflow.writer import Entry, Writer

__all__ = [
    "Entry",
    "MLflowTracking",
    "RunStore",
    "Writer",
    "bounded_waiting",
    "estimate_metrics",
    "heldout_metrics",
    "log_model",
    "prompt_name",
    "run_store",
    "source_tags",
    "usage_numbers",
    "versions",
    "wait_for",
]

__getattr__, __dir__ = lazily(__name__)
