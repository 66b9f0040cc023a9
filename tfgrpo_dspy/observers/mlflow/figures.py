"""The learning curve with its error bars, which MLflow's own charts lack; drawn without pyplot's global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.errors import MissingExtraError
from tfgrpo_dspy.records.rollouts import reward_estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfgrpo_dspy.records.result import CompileResult
    from tfgrpo_dspy.statistics.estimates import Estimate

_APART = 0.06
"""Of a step, between two intervals of one step."""


def learning_curve(result: CompileResult, *, title: str) -> Figure:
    """Mean reward per step with its interval, and validation if there is any.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib: pip install 'tfgrpo-dspy[mlflow]'") from error
    judged = [(0, result.initial_validation), *((step.step, step.validation) for step in result.steps)]
    curves: dict[str, list[tuple[float, Estimate]]] = {
        "trainset, library before the step (Mean@G)": [
            (step.step, mean) for step in result.steps if (mean := reward_estimate(step.groups)) is not None
        ],
        "valset, library after the step": [(step + _APART, made.mean) for step, made in judged if made is not None],
    }
    figure = Figure(figsize=(8.0, 4.0), dpi=120, layout="constrained")
    axes = figure.subplots()
    for label, points in curves.items():
        at, means = [x for x, _ in points], [mean for _, mean in points]
        reach = [[m.value - m.low for m in means], [m.high - m.value for m in means]]
        axes.errorbar(at, [m.value for m in means], yerr=reach, marker="o", markersize=4, capsize=3, label=label)
    if result.best_step is not None:
        axes.axvline(result.best_step, linestyle=":", linewidth=1, label="library returned")
    axes.set(title=title, xlabel="step (0: before the first)", ylabel="mean reward, 95% interval")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False)
    return figure
