"""How a run is shown in the terminal, and before it what it will take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from tfgrpo_dspy.cli.files import LIBRARY, LIBRARY_TEXT, PROGRAM, REPORT
from tfgrpo_dspy.cli.options.recipe import RECIPE
from tfgrpo_dspy.cli.terminal import SIMULATED, facts, out, say, section, table_of, us
from tfgrpo_dspy.forecast.forecast import Forecast, usd_text
from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.looks.look import Table
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.wording import is_simulated, origin_text
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.reports.story import CANDIDATES, Block, Section, Story
from tfgrpo_dspy.text import show_path, visible

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking  # importing it must stay optional

_ENTRIES_SHOWN = 30
"""Experiences listed after a run at most; `tfgrpo library show` has them all."""
_ROWS_SHOWN = 12
"""Rows of a table at most; the report has more."""
_ELSEWHERE = f"Each of them, and why: see {REPORT}"


def show_plan(title: str, rows: Iterable[tuple[str, str]], lms: Mapping[str, str]) -> None:
    """What is about to be done."""
    say(title, style="bold")
    if is_simulated(lms.values()):
        say(SIMULATED, style="yellow")
    out().print(facts(rows))


def show_story(story: Story, folder: Path, tracking: MLflowTracking | None) -> None:
    """All that is told of a run but its settings, which `show_plan` has shown; and where to find it."""
    verdict = replace(story.verdict, title=f"{story.verdict.title}{' (simulated)' if story.simulated else ''}")
    for each in (*story.details, Section("How it ended", story.ending), verdict):
        show_section(replace(each, blocks=(each.blocks[0], _ELSEWHERE)) if each.title == CANDIDATES else each)
    shown = show_path(folder)
    rows = [
        ("files", f"{shown}/{PROGRAM}, {LIBRARY}, {LIBRARY_TEXT}, {REPORT}, {RECIPE}"),
        ("page", f"{us()} view {shown}"),
        ("MLflow", mlflow_text(tracking)),
    ]
    if tracking is not None and tracking.model_uri is not None:
        rows.append(("model", tracking.model_uri))
    section("Where it is", facts(rows))


def show_section(told: Section) -> None:
    """A heading, and what stands below it, cut where it is long."""
    section(visible(told.title), *(part for block in told.blocks for part in _shown(block)))


def _shown(block: Block) -> Sequence[object]:
    if isinstance(block, str):
        return [safe(visible(block))]
    if isinstance(block, Table):
        rows = [[safe(visible(cell)) for cell in row] for row in block.rows[:_ROWS_SHOWN]]
        numeric = [position for position, name in enumerate(block.columns) if name in block.numeric]
        shown: object = table_of(block.columns, rows, numeric=numeric)
        more, file = len(block.rows) - len(rows), REPORT
    else:
        shown = entries(block.library.experiences[:_ENTRIES_SHOWN], effects=block.effects or None)
        more, file = len(block.library) - _ENTRIES_SHOWN, LIBRARY_TEXT
    return [shown, *([f"and {more} more, see {file}"] if more > 0 else [])]


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


def show_change(head: str, before: str | None, after: str | None, grounds: Iterable[tuple[str, str]]) -> None:
    """What became or is to become of a text: what it was, what it is, and what that rests on, as names and values."""
    console = out()
    console.print(Text(f"\n{head}", style="cyan"))
    for sign, text, style in (("-", before, "red"), ("+", after, "green")):
        if text is not None:
            console.print(Text(f"  {sign} {visible(text)}", style=style))
    if rows := [(name, visible(value)) for name, value in grounds if value]:
        console.print(Padding(facts(rows), (0, 0, 0, 2)))


def mlflow_text(tracking: MLflowTracking | None) -> str:
    """Which run, and how to look at it."""
    if tracking is None or tracking.run_id is None:
        return ""
    uri = tracking.store_uri or ""
    ours = uri == f"sqlite:///{(Path.cwd() / 'mlruns' / 'mlflow.db').resolve().as_posix()}"
    look = f"{us()} ui" if ours else f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else uri
    return f"run {tracking.run_id}; to look at it: {look}"


def entries(
    library: Iterable[Experience], *, provenance: bool = False, effects: Mapping[str, Effect] | None = None
) -> Grid:
    """One row per experience, with what it was measured to do if `effects` are given (by id)."""
    table = Grid.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for experience in library:
        text, marks = Text(visible(experience.text)), experience.marks
        if provenance:
            text.append(f"\n{visible(origin_text(experience))}", style="dim")
        elif marks:
            text.append(f" ({', '.join(marks)})", style="dim")
        if effects is not None:
            known = effects.get(experience.id)
            style = "dim" if known is None else {"helps": "green", "hurts": "red"}.get(known.verdict, "dim")
            text.append(f"\neffect {'not measured' if known is None else known.to_text()}", style=style)
        table.add_row(experience.id, text)
    return table
