"""The learning curve as a matplotlib figure, drawn without pyplot: its state is global and not for threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tfgrpo_dspy.errors import MissingExtraError
from tfgrpo_dspy.reports.counts import reward_estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tfgrpo_dspy.records.result import CompileResult
    from tfgrpo_dspy.statistics.estimates import Estimate

_TRAIN, _VALIDATION, _LIBRARY, _GRID = "#1f5fa8", "#c2571a", "#5b6b7b", "#d9dee3"


class _Point(NamedTuple):
    step: int
    estimate: Estimate


def learning_curve(result: CompileResult, *, title: str, simulated: bool) -> Figure:
    """Mean reward per step with its interval, validation if there is any, and the library's size below.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib: pip install 'tfgrpo-dspy[mlflow]'") from error
    figure = Figure(figsize=(8.0, 5.4), dpi=120, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1.2)})
    figure.suptitle(f"{title} (simulated LM)" if simulated else title, fontsize=12)
    _draw_rewards(upper, result)
    _draw_library(lower, result)
    lower.set_xlabel("step (0: before the first)")
    lower.set_xlim(-0.4, max((s.step for s in result.steps), default=0) + 0.4)
    for axis in (lower.xaxis, lower.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _draw_rewards(axes: Axes, result: CompileResult) -> None:
    trained = [_Point(s.step, e) for s in result.steps if (e := reward_estimate(s.groups)) is not None]
    judged = [_Point(s.step, s.validation.mean) for s in result.steps if s.validation is not None]
    if result.initial_validation is not None:
        judged.insert(0, _Point(0, result.initial_validation.mean))
    _draw_band(axes, trained, _TRAIN, "trainset, library before the step (Mean@G)", shift=0.0)
    _draw_band(axes, judged, _VALIDATION, "valset, library after the step", shift=0.06)
    if result.best_step is not None:
        axes.axvline(result.best_step, color=_VALIDATION, linestyle=":", linewidth=1, label="library returned")
    axes.set_ylabel("mean reward, 95% interval")
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if trained or judged:
        axes.legend(fontsize=8, frameon=False, loc="best")


def _draw_band(axes: Axes, points: Sequence[_Point], colour: str, label: str, *, shift: float) -> None:
    if not points:
        return
    at = [p.step + shift for p in points]  # so that two intervals at one step can be told apart
    values = [p.estimate.value for p in points]
    below = [p.estimate.value - p.estimate.low for p in points]
    above = [p.estimate.high - p.estimate.value for p in points]
    axes.errorbar(at, values, yerr=[below, above], color=colour, marker="o", markersize=4, capsize=3, label=label)
    if len(points) > 1:
        low, high = [p.estimate.low for p in points], [p.estimate.high for p in points]
        axes.fill_between(at, low, high, color=colour, alpha=0.10, linewidth=0)


def _draw_library(axes: Axes, result: CompileResult) -> None:
    steps = [0, *(s.step for s in result.steps)]
    entries = [len(result.initial_library), *(len(s.library) for s in result.steps)]
    axes.bar(steps, entries, color=_LIBRARY, width=0.5)
    for step, number in zip(steps, entries, strict=True):
        axes.annotate(str(number), (step, number), ha="center", va="bottom", fontsize=8)
    axes.set_ylabel("library entries")
    axes.margins(y=0.25)
    axes.spines[["top", "right"]].set_visible(False)
