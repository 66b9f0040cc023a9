"""The method where people already are: MLflow's prompt registry, GEPA, agents that speak MCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.interop.gepa import KeepLibrary
    from tfgrpo_dspy.interop.mlflow_prompts import TrainingFreeGRPOPromptOptimizer
    from tfgrpo_dspy.interop.mlflow_traces import past_rollouts_of

__all__ = [
    "KeepLibrary",
    "TrainingFreeGRPOPromptOptimizer",
    "past_rollouts_of",
]

__getattr__, __dir__ = lazily(__name__)
