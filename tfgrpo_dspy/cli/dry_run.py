"""`tfgrpo compile --dry-run`: what a run will take, before it is paid."""

from __future__ import annotations

import typer

from tfgrpo_dspy.cli.terminal import say, section, table_of
from tfgrpo_dspy.forecast.forecast import Forecast, usd_text


def show_forecast(made: Forecast) -> None:
    """The whole run by stage, and what the pilot took."""
    simulated, table = " (simulated)" if made.simulated else "", made.table()
    rows = [[cell.replace(" (", "\n").rstrip(")") for cell in row] for row in table.rows]  # the range stands below
    shown = table_of(table.columns, rows, numeric=range(1, len(table.columns)))
    section(f"Forecast of the whole run{simulated}, expected and 90% range", shown)
    remarks = [*made.remarks()]
    if made.total.cost_usd is None:
        remarks.insert(2, "the price of an LM is unknown, so the cost is too: give it with --price-per-million IN,OUT")
    section("Of these figures", *remarks)
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
    known = "at a price that is unknown (--price-per-million)"
    known = known if cost is None else f"expected to cost {cost.to_text(usd_text)}"
    typer.confirm(f"The run is {known}; go on?", abort=True, err=True)
