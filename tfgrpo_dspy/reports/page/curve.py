"""The learning curve of a page: mean rewards with their intervals, as SVG whose colours the page sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.records.rollouts import reward_estimate
from tfgrpo_dspy.statistics.estimates import Estimate

_WIDTH, _HEIGHT = 640, 256
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 14, 50
_APART = 7
"""Pixels between two intervals of one step."""


class Series(NamedTuple):
    """One line of a learning curve."""

    name: str
    label: str
    points: list[tuple[int, Estimate]]
    """Step (0: before the first) and mean reward there."""


def draw_curve(result: CompileResult) -> str:
    """The curve, or nothing where no step has a reward."""
    series = series_of(result)
    if not series:
        return ""
    estimates = [estimate for each in series for _, estimate in each.points]
    low, high = min(0.0, *(e.low for e in estimates)), max(1.0, *(e.high for e in estimates))
    last = max(step for each in series for step, _ in each.points)
    frame = _Frame(low, high, max(last, 1))
    parts = [*frame.axes(), *(line for at, each in enumerate(series) for line in frame.drawn(each, at))]
    if result.best_step is not None:
        x = frame.x(result.best_step)
        parts.append(f'<line class="kept" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
    legend = " · ".join(f'<tspan class="{each.name}-label">{each.label}</tspan>' for each in series)
    parts.append(f'<text class="label" x="{_LEFT}" y="{_HEIGHT - 6}">{legend}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Learning curve">{"".join(parts)}</svg>'


class _Frame(NamedTuple):
    low: float
    high: float
    last: int

    def x(self, step: float) -> float:
        return round(_LEFT + 20 + (_WIDTH - _LEFT - _RIGHT - 40) * step / self.last, 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share, 1)

    def axes(self) -> Iterator[str]:
        for part in range(5):
            value = self.low + (self.high - self.low) * part / 4
            y = self.y(value)
            yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            yield f'<text class="label" text-anchor="end" x="{_LEFT - 6}" y="{y + 4}">{value:.2f}</text>'
        stride = max(1, -(-self.last // 12))
        for step in range(0, self.last + 1, stride):
            yield f'<text class="label" text-anchor="middle" x="{self.x(step)}" y="{_HEIGHT - 30}">{step}</text>'

    def drawn(self, series: Series, at: int) -> Iterator[str]:
        shift = at * _APART
        places = [(round(self.x(step) + shift, 1), estimate) for step, estimate in series.points]
        line = " ".join(f"{x},{self.y(e.value)}" for x, e in places)
        yield f'<polyline class="{series.name}" points="{line}"/>'
        for x, e in places:
            yield f'<line class="{series.name}" x1="{x}" x2="{x}" y1="{self.y(e.low)}" y2="{self.y(e.high)}"/>'
            title = f"<title>{e.value:.3f} [{e.low:.3f}, {e.high:.3f}], n={e.n}</title>"
            yield f'<circle class="{series.name}" cx="{x}" cy="{self.y(e.value)}" r="4">{title}</circle>'


def series_of(result: CompileResult) -> list[Series]:
    """Mean reward per step, and validation if there is any; what has no point is left out."""
    judged = [(0, result.initial_validation), *((step.step, step.validation) for step in result.steps)]
    trained = [(step.step, mean) for step in result.steps if (mean := reward_estimate(step.groups)) is not None]
    made = (
        Series("train", "trainset, before the step", trained),
        Series("val", "validation, after it", [(step, v.mean) for step, v in judged if v is not None]),
    )
    return [each for each in made if each.points]
