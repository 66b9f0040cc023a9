"""The line-up for ablations: a name stands for a teleprompter, and all run through the same `compile` call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import dspy
from dspy.teleprompt import BootstrapFewShot, LabeledFewShot, Teleprompter

from tfgrpo_dspy import SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.reward import Metric


@dataclass(frozen=True, slots=True)
class Entry:
    """One optimizer of the line-up."""

    name: str
    description: str
    """One sentence: what it learns, and from what."""
    make: Callable[[Metric, int], Teleprompter]
    """From metric and seed; every other setting is the entry's own."""


class Nothing(Teleprompter):
    """The baseline: returns a copy of the student, as it is."""

    def compile(
        self,
        student: dspy.Module,
        trainset: list[dspy.Example],
        *,
        teacher: dspy.Module | None = None,
        valset: list[dspy.Example] | None = None,
    ) -> dspy.Module:
        """A copy of the student; the data are not looked at."""
        return student.deepcopy()


def _labeled(metric: Metric, seed: int) -> Teleprompter:
    return LabeledFewShot(k=4)


def _bootstrap(metric: Metric, seed: int) -> Teleprompter:
    # Without a threshold DSPy asks for the metric's truth value, and that of any Prediction is True.
    return BootstrapFewShot(metric=metric, metric_threshold=1.0, max_bootstrapped_demos=4, max_labeled_demos=4)


def _tfgrpo(metric: Metric, seed: int) -> Teleprompter:
    return TrainingFreeGRPO(metric, seed=seed, display_progress=False)


def _one_epoch(metric: Metric, seed: int) -> Teleprompter:
    return TrainingFreeGRPO(metric, seed=seed, epochs=1, display_progress=False)


def _no_ground_truth(metric: Metric, seed: int) -> Teleprompter:
    return TrainingFreeGRPO(metric, seed=seed, use_ground_truth=False, display_progress=False)


LINE_UP = {
    entry.name: entry
    for entry in (
        Entry("none", "The student as it is.", lambda metric, seed: Nothing()),
        Entry("tfgrpo", "Training-Free GRPO with the paper's settings.", _tfgrpo),
        Entry("tfgrpo-one-epoch", "Training-Free GRPO, one epoch instead of three.", _one_epoch),
        Entry("tfgrpo-hidden-answers", "Training-Free GRPO that never shows the expected outputs.", _no_ground_truth),
        Entry("labeled-fewshot", "DSPy's LabeledFewShot: four labelled examples as demonstrations.", _labeled),
        Entry(
            "bootstrap-fewshot", "DSPy's BootstrapFewShot: up to four rollouts that the metric accepted.", _bootstrap
        ),
    )
}
"""Name to entry, in the order of a table."""


def make_optimizer(name: str, metric: Metric, seed: int = 0) -> Teleprompter:
    """The optimizer of that name, ready to `compile(student, trainset=...)`.

    Raises:
        SettingsError: There is none of that name; the message lists them.
    """
    if name not in LINE_UP:
        raise SettingsError(f"there is no optimizer {name!r}; the line-up is: {', '.join(LINE_UP)}")
    return LINE_UP[name].make(metric, seed)
