"""What a command line asks to be compiled."""

from __future__ import annotations

from dataclasses import dataclass

import dspy

from tfgrpo_dspy.cli import view
from tfgrpo_dspy.cli.files import Keeper
from tfgrpo_dspy.cli.options.common import CompileOptions
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.records.evaluation import Comparison
from tfgrpo_dspy.reports.story import Story, Told, nothing_was_scored, story_of
from tfgrpo_dspy.teleprompter import TrainingFreeGRPO


@dataclass(frozen=True, slots=True)
class Job:
    """A compile that has been checked and can start."""

    program: dspy.Module
    trainset: list[dspy.Example]
    valset: list[dspy.Example] | None
    optimizer: TrainingFreeGRPO
    keeper: Keeper
    tracking: MLflowTracking | None
    options: CompileOptions
    """What was asked for."""
    source: str
    """What the trainset was read from."""
    testset: list[dspy.Example] | None = None
    """Held-out examples for the comparison at the end."""

    def story(self, stopped: str = "", gain: Comparison | None = None) -> Story | None:
        """What is known of the run; None if no rollout of a finished step took place.

        Args:
            stopped: Why an error or a person ended it; empty if none did.
            gain: Bare against learned program on held-out questions, if they were evaluated.
        """
        result = self.keeper.result
        if result is None or nothing_was_scored(result):
            return None
        recorded = view.mlflow_text(self.tracking)
        told = Told(self.options.program, self.source, self.options.metric, stopped, recorded, gain)
        return story_of(result, self.keeper.started, told)
