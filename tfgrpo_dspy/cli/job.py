"""What a command line asks to be compiled."""

from __future__ import annotations

from dataclasses import dataclass

import dspy

from tfgrpo_dspy import (
    TrainingFreeGRPO,
)
from tfgrpo_dspy.cli import view
from tfgrpo_dspy.cli.files import Keeper, RunFile
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.reports.story import Story


@dataclass(frozen=True, slots=True)
class Job:
    """A compile that has been checked and can start."""

    program: dspy.Module
    trainset: list[dspy.Example]
    valset: list[dspy.Example] | None
    optimizer: TrainingFreeGRPO
    keeper: Keeper
    tracking: MLflowTracking | None
    run: RunFile
    source: str
    """What the trainset was read from."""
    testset: list[dspy.Example] | None = None
    """Held-out examples for the comparison at the end."""

    def story(self, seconds: float, stopped: str = "") -> Story | None:
        """What is known of the run; None if it did not begin."""
        started, result = self.keeper.started, self.keeper.result
        if started is None or result is None:
            return None
        recorded = view.mlflow_text(self.tracking)
        return Story(self.run.program, self.source, self.run.metric, started, result, seconds, stopped, None, recorded)
