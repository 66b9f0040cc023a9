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
    from tfgrpo_dspy.observers.mlflow.store import RunStore, open_run
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

__all__ = [
    "MLflowTracking",
    "RunStore",
    "bounded_waiting",
    "estimate_metrics",
    "heldout_metrics",
    "log_model",
    "open_run",
    "prompt_name",
    "source_tags",
    "usage_numbers",
    "versions",
]

__getattr__, __dir__ = lazily(__name__)
