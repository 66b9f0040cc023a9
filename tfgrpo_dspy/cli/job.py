"""What a command line asks to be compiled."""

from __future__ import annotations

from dataclasses import dataclass

import dspy

from tfgrpo_dspy.cli import view
from tfgrpo_dspy.cli.files import Keeper
from tfgrpo_dspy.cli.options.common import CompileOptions
from tfgrpo_dspy.cli.options.recipe import RECIPE
from tfgrpo_dspy.cli.terminal import show_path, us
from tfgrpo_dspy.forecast.forecast import Forecast
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.records.ended import Ended
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
    testset: list[dspy.Example] | None = None
    """Held-out examples for the comparison at the end."""

    def forecast(self) -> Forecast:
        """Roll out the pilot."""
        price = self.options.settings.get("price_per_million")
        return self.optimizer.forecast(
            self.program, self.trainset, valset=self.valset, pilot=self.options.pilot, price_per_million=price
        )

    @property
    def command(self) -> str:
        """What goes on with the run, under a higher limit if one ended it; empty if nothing more can be said of it."""
        if self.optimizer.setup.log_dir is None or not self.keeper.has_recipe:
            return ""
        recipe = show_path(self.keeper.folder / RECIPE)
        again = f"{us()} compile --recipe {recipe}"
        ended = self.keeper.result.ended if self.keeper.result is not None else Ended()
        name, _, value = ended.why.partition(":")[0].partition("=")
        if ended.how not in {"limit", "patience"} or not name.startswith(("max_", "patience")):
            return again
        more = f"{again} --{name.replace('_', '-')} {2 * float(value):g}"
        return f"{more} --accept-changes" if ended.how == "patience" else more

    def story(self, why: str = "", gain: Comparison | None = None) -> Story | None:
        """What is known of the run; None if no rollout of a finished step took place.

        Args:
            why: It ended, if that can be said better than by its records.
            gain: Bare against learned program on held-out questions, if they were evaluated.
        """
        result = self.keeper.result
        if result is None or nothing_was_scored(result):
            return None
        recorded = view.mlflow_text(self.tracking)
        told = Told(self.options.program, self.options.trainset, self.options.metric, why, self.command, recorded, gain)
        return story_of(result, self.keeper.started, told)
