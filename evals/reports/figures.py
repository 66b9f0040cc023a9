"""Figures of a comparison, drawn without pyplot: gains with intervals, learning curves, gain against cost."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from evals.scoring.table import Line, Table
from evals.scoring.verdicts import signed_text
from tfgrpo_dspy import MissingExtraError
from tfgrpo_dspy.kit import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID = "#1d2733", "#5b6b7b", "#d9dee3"
GOOD, BAD, UNSURE = "#18794e", "#b42318", "#7a8594"
SERIES = ("#1f5fa8", "#c2571a", "#18794e", "#7b4fa3", "#a3721c", "#2b8a9a", "#b03a6c", "#5b6b7b")
COLOURS: Mapping[str, str] = {
    INK: "ink", QUIET: "quiet", GRID: "line", GOOD: "good", BAD: "bad", UNSURE: "unsure",
    **{colour: f"series-{i}" for i, colour in enumerate(SERIES) if colour not in (GOOD, QUIET)},
}  # fmt: skip
"""Colour to the name that a page gives it, so that a page can draw the same figure light and dark."""
_COLOUR_OF = {"better": GOOD, "worse": BAD, "not distinguishable": UNSURE}
_MANY = 12


def draw_all(table: Table) -> dict[str, Figure]:
    """Every figure that this table has something for, by name.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn: dict[str, Callable[[Table], Figure | None]] = {
        "gains": forest,
        "curves": learning_curves,
        "cost": gain_against_cost,
    }
    figures = {name: draw(table) for name, draw in drawn.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def forest(table: Table) -> Figure | None:
    """One line per optimizer: its paired gain over the baseline with its interval, and each seed's own."""
    lines = [line for line in table.ranked if line.gain is not None]
    if not lines:
        return None
    figure, axes = _figure(
        table, "Gain over the baseline", height=1.3 + (0.45 if len(lines) <= _MANY else 0.34) * len(lines)
    )
    for at, line in enumerate(reversed(lines)):
        _draw_gain(axes, at, line)
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.set_yticks(range(len(lines)), [line.label for line in reversed(lines)])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    over = f"{counted(table.questions, 'question')} and {counted(len(table.seeds), 'seed')}"
    axes.set_xlabel(f"gain in Mean@{table.k} with its interval, corrected, over {over}\nticks below: single seeds")
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def learning_curves(table: Table) -> Figure | None:
    """Mean reward of the training rollouts per step, over seeds, for the optimizers that learn in steps."""
    lines = [line for line in table.lines if any(len(row.curve) for row in line.rows)]
    if not lines:
        return None
    figure, axes = _figure(table, "Reward of the training rollouts, step by step", height=3.6)
    for colour, line in zip(_series(lines), lines, strict=True):
        _draw_curve(axes, line, colour)
    axes.set_xlabel("step (each step's rollouts read what was learned before it); thin lines: single seeds")
    axes.set_ylabel("mean reward")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=9, frameon=False, labelcolor=INK, loc="outside right upper")
    return figure


def gain_against_cost(table: Table) -> Figure | None:
    """Each optimizer's gain against the LM calls that it took to learn, per seed."""
    lines = [line for line in table.ranked if line.gain is not None]
    if not lines:
        return None
    figure, axes = _figure(table, "Gain against the calls it took to learn", height=max(3.8, 0.8 + 0.2 * len(lines)))
    gains = {line.label: line.gain.difference for line in lines if line.gain is not None}
    low, high = min(found.low for found in gains.values()), max(found.high for found in gains.values())
    room = max(high - low, 0.01)
    places = _spread([found.value for found in gains.values()], room / max(16, len(lines)))
    for line, found, place in zip(lines, gains.values(), places, strict=True):
        calls, colour = _calls(line), _COLOUR_OF[line.verdict]
        reach = [[found.value - found.low], [found.high - found.value]]
        axes.errorbar([calls], [found.value], yerr=reach, color=colour, marker="o", markersize=5, capsize=3)
        axes.annotate(
            line.label,
            (calls, found.value),
            xytext=(1.02, place),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": GRID, "linewidth": 0.8, "relpos": (0.0, 0.5), "shrinkA": 0},
        )
    axes.axhline(0, color=QUIET, linewidth=1)
    axes.set_ylim(min(low, *places) - 0.06 * room, max(high, *places) + 0.06 * room)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=-1, right=2 * max(10.0, *map(_calls, lines)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("LM calls to learn, per seed (logarithmic from 10 on)")
    axes.set_ylabel(f"gain in Mean@{table.k}, corrected interval")
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def to_svg(figure: Figure, name: str) -> str:
    """The figure as SVG for a page: transparent, texts as text, ids of its own; the same figure gives the same SVG."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _figure(table: Table, title: str, *, height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib: pip install 'tfgrpo-dspy[mlflow]'") from error
    figure = Figure(figsize=(8.0, height), dpi=120, layout="constrained")
    note = " (simulated LM)" if table.simulated else ""
    figure.suptitle(f"{title}{note}", fontsize=12, color=INK, x=0.02, ha="left")
    axes = figure.subplots()
    axes.tick_params(colors=INK, labelcolor=INK)
    axes.xaxis.label.set_color(QUIET)
    axes.yaxis.label.set_color(QUIET)
    for spine in axes.spines.values():
        spine.set_color(QUIET)
    return figure, axes


def _draw_gain(axes: Axes, at: int, line: Line) -> None:
    gain = line.gain
    if gain is None:
        return
    found, colour = gain.difference, _COLOUR_OF[line.verdict]
    axes.hlines(at, found.low, found.high, color=colour, linewidth=2.2)
    axes.plot([found.value], [at], marker="s", markersize=7, color=colour)
    if gain.seeds > 1:
        axes.plot(gain.by_seed, [at - 0.24] * gain.seeds, linestyle="", marker="|", markersize=7, color=QUIET)
    axes.annotate(
        signed_text(found).partition(" ")[0], (found.value, at), xytext=(0, 7), textcoords="offset points", ha="center",
        fontsize=9, color=INK,
    )  # fmt: skip


def _draw_curve(axes: Axes, line: Line, colour: str) -> None:
    values: dict[int, list[float]] = defaultdict(list)
    for row in line.rows:
        points = [(point.step, point.reward.value) for point in row.curve if point.reward is not None]
        for step, value in points:
            values[step].append(value)
        if len(line.rows) > 1 and points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.8, alpha=0.4)
    steps = sorted(values)
    means = [fmean(values[step]) for step in steps]
    axes.plot(steps, means, color=colour, linewidth=2, marker="o", markersize=5, label=line.label)


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Places for labels near the values, in their order, no two closer than the gap: from the middle outwards."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    placed = [values[i] for i in order]
    middle = len(placed) // 2
    for at in range(middle + 1, len(placed)):
        placed[at] = max(placed[at], placed[at - 1] + gap)
    for at in range(middle - 1, -1, -1):
        placed[at] = min(placed[at], placed[at + 1] - gap)
    return [placed[order.index(i)] for i in range(len(values))]


def _series(lines: Sequence[Line]) -> list[str]:
    return [SERIES[i % len(SERIES)] for i in range(len(lines))]


def _calls(line: Line) -> float:
    return line.training.usage.lm_calls / max(len(line.rows), 1)
