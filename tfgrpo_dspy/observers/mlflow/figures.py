"""The learning curve and the held-out scores with their error bars, which MLflow's own charts lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfgrpo_dspy.errors import MissingExtraError
from tfgrpo_dspy.records.wording import gain_text
from tfgrpo_dspy.reports.page.curve import series_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
    from tfgrpo_dspy.records.result import CompileResult

_APART = 0.06
"""Of a step, between two intervals of one step."""


def learning_curve(result: CompileResult, *, title: str) -> Figure:
    """Mean reward per step with its interval, and validation if there is any.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure(4.0)
    from matplotlib.ticker import MaxNLocator

    for apart, (_, label, points) in enumerate(series_of(result)):
        at, means = [step + apart * _APART for step, _ in points], [mean for _, mean in points]
        reach = [[m.value - m.low for m in means], [m.high - m.value for m in means]]
        axes.errorbar(at, [m.value for m in means], yerr=reach, marker="o", markersize=4, capsize=3, label=label)
    if result.best_step is not None:
        axes.axvline(result.best_step, linestyle=":", linewidth=1, label="library returned")
    axes.set(title=title, xlabel="step (0: before the first)", ylabel="mean reward, 95% interval")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:  # a run that ended before its first step has no curve
        axes.legend(fontsize=8, frameon=False)
    return figure


def heldout_figure(evaluations: Mapping[str, Evaluation], gain: Comparison | None) -> Figure:
    """The score of each program with its interval, and the paired gain in words.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure(1.4 + 0.5 * len(evaluations))
    means = [made.mean for made in evaluations.values()][::-1]
    reach = [[m.value - m.low for m in means], [m.high - m.value for m in means]]
    axes.errorbar([m.value for m in means], range(len(means)), xerr=reach, fmt="o", markersize=6, capsize=4)
    for at, mean in enumerate(means):
        axes.annotate(f"{mean.value:.3f}", (mean.value, at), xytext=(0, 8), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(means)), list(evaluations)[::-1])
    axes.set_ylim(-0.6, len(means) - 0.4)
    k, n = next((made.k, made.mean.n) for made in evaluations.values())
    title = f"gain {gain_text(gain.difference)}" if gain is not None else ""
    axes.set(title=title, xlabel=f"mean reward over {n} held-out questions x {k}, 95% interval")
    axes.title.set_fontsize(9)
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib: pip install 'tfgrpo-dspy[mlflow]'") from error
    figure = Figure(figsize=(8.0, height), dpi=120, layout="constrained")
    return figure, figure.subplots()
