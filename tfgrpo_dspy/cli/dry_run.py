"""`tfgrpo compile --dry-run`: what a run will take, before it is paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import typer
from rich.table import Table

from tfgrpo_dspy.cli.terminal import say, section, table_of
from tfgrpo_dspy.forecast.forecast import Forecast, Range, StageForecast

_Text: TypeAlias = "Callable[[float], str]"
COLUMNS = ("stage", "calls", "tokens in", "tokens out", "cost", "share")
_MINUTE, _HOUR = 60, 3600
_LONG = 99.5
_THOUSAND, _MILLION = 1e3, 1e6
_DIME = 0.1


def show_forecast(made: Forecast) -> None:
    """The whole run by stage, and what the pilot took."""
    simulated = " (simulated)" if made.simulated else ""
    section(f"Forecast of the whole run{simulated}, expected and 90% range", _table(made))
    time = "unknown, as DSPy's cache answered the pilot"
    if made.seconds is not None:
        time = f"{_range(made.seconds, _time)} with {made.plan.threads} calls at once, at the latency of the pilot"
    rows = [f"wall-clock time: {time}", _pilot_text(made)]
    if made.total.cost_usd is None:
        rows.append("the price of an LM is unknown, so the cost is too: give it with --price-per-million IN,OUT")
    section("Of these figures", *rows, *made.notes)
    kept = "; DSPy's cache keeps what the pilot paid" if made.plan.reused else ""
    say(f"\nNothing was written{kept}. Without --dry-run the run begins.")


def confirm(made: Forecast, above: float) -> None:
    """Ask whether to go on, if the run is expected to cost more than so many US dollars, or nobody knows what.

    Raises:
        typer.Abort: The answer is no, or nobody is there to ask.
    """
    cost = made.total.cost_usd
    if cost is not None and cost.expected <= above:
        return
    known = (
        "at a price that is unknown (--price-per-million)" if cost is None else f"expected to cost {_range(cost, _usd)}"
    )
    typer.confirm(f"The run is {known}; go on?", abort=True, err=True)


def _table(made: Forecast) -> Table:
    whole = _weight(made.total)
    named = [*((name, stage) for name, stage in made.stages.items() if stage.calls.high), ("total", made.total)]
    rows = []
    for name, stage in named:
        counts = [_range(figure, _count) for figure in (stage.calls, stage.prompt_tokens, stage.completion_tokens)]
        figures = [*counts, "unknown" if stage.cost_usd is None else _range(stage.cost_usd, _usd)]
        cells = [text.replace(" (", "\n").rstrip(")") for text in figures]  # the range below what is expected
        share = f"{100 * _weight(stage, made) / whole:.0f}%" if whole else ""
        rows.append(("pilot only" if name == "pilot" else name, *cells, share))
    return table_of(COLUMNS, rows, numeric=(1, 2, 3, 4, 5))


def _weight(stage: StageForecast, made: Forecast | None = None) -> float:
    """Of cost where it is known, else of tokens."""
    total = stage if made is None else made.total
    if total.cost_usd is not None and total.cost_usd.expected and stage.cost_usd is not None:
        return stage.cost_usd.expected
    return stage.prompt_tokens.expected + stage.completion_tokens.expected


def _pilot_text(made: Forecast) -> str:
    pilot = made.pilot
    took = sum((group.took for group in pilot.groups), pilot.update)
    tokens = f"{_count(took.prompt_tokens)} + {_count(took.completion_tokens)} tokens"
    text = f"the pilot took {_count(took.calls)} calls, {tokens}"
    if took.calls and made.spent.lm_calls == 0:
        return f"{text}; DSPy's cache answered all of it"
    extra = made.stages["pilot"].calls.expected if "pilot" in made.stages else 0
    return f"{text}; all of it is in the total, and {_count(extra)} of its calls the run cannot use"


def _range(figure: Range, text: _Text) -> str:
    low, expected, high = text(figure.low), text(figure.expected), text(figure.high)
    return expected if low == high else f"{expected} ({low} – {high})"


def _count(number: float) -> str:
    if number >= _LONG * _THOUSAND * 10:
        return f"{number / _MILLION:.1f}M"
    return f"{number / _THOUSAND:.0f}k" if number >= 10 * _THOUSAND else f"{number:,.0f}"


def _usd(dollars: float) -> str:
    return f"${dollars:.2f}" if dollars >= _DIME or dollars == 0 else f"${dollars:.3g}"


def _time(seconds: float) -> str:
    if seconds < _LONG:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"  # noqa: PLR2004 - two digits
    return f"{seconds / _MINUTE:.0f} min" if seconds < 1.5 * _HOUR else f"{seconds / _HOUR:.1f} h"
