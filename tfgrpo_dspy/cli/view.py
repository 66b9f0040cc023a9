"""How a run is shown in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from tfgrpo_dspy.cli.files import LIBRARY, LIBRARY_TEXT, PROGRAM, REPORT
from tfgrpo_dspy.cli.terminal import SIMULATED, facts, out, say, section, show_path, table_of, us
from tfgrpo_dspy.reports import story as told
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.reports.verdict import FLAG_COLUMNS, flag_rows, verdict_of
from tfgrpo_dspy.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table

    from tfgrpo_dspy.library.library import Experience
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
    from tfgrpo_dspy.records.effects import Effect
    from tfgrpo_dspy.reports.story import Story

_SHOWN = 30
"""Experiences listed after a run at most; `tfgrpo library show` has them all."""


def show_plan(title: str, rows: Iterable[tuple[str, str]], lms: Mapping[str, str]) -> None:
    """What is about to be done."""
    say(title, style="bold")
    show_if_simulated(lms)
    out().print(facts(rows))


def show_if_simulated(lms: Mapping[str, str]) -> None:
    """The warning that belongs to every figure of the embedded LM."""
    if told.is_simulated(lms):
        say(SIMULATED, style="yellow")


def show_learning(story: Story) -> None:
    """Steps, and the library that came out of them."""
    columns, rows = story.steps_table()
    section("Steps", table_of(columns, rows, numeric=(0, 4, 5, 6)))
    for remark in story.remarks:
        out().print(Text(f"\n{safe(remark)}", style="yellow"))
    library = story.result.library
    title = f"Library: {counted(len(library), 'experience')}, about {library.tokens} tokens"
    more = len(library) - _SHOWN
    rest = [f"and {more} more, see {LIBRARY_TEXT}"] if more > 0 else []
    section(title, *([entries(library.experiences[:_SHOWN])] if len(library) else []), *rest)


def show_verdict(story: Story) -> None:
    """Whether it helped, and what a reader of the library should look at."""
    section("Did it help?", safe(verdict_of(story)))
    rows = flag_rows(story.result)
    if rows:
        section("Signs of harm", table_of(FLAG_COLUMNS, rows[:_SHOWN]))


def show_whereabouts(story: Story, folder: Path, tracking: MLflowTracking | None) -> None:
    """Files, MLflow run and cost."""
    shown = show_path(folder)
    files = f"{shown}/{PROGRAM}, {LIBRARY}, {LIBRARY_TEXT}, {REPORT}"
    usage = f"{told.usage_text(story.result.usage)}, {story.seconds:.0f} s"
    rows = [("files", files), ("MLflow", mlflow_text(tracking))]
    if tracking is not None and tracking.model_uri is not None:
        rows.append(("model", tracking.model_uri))
    section("Where it is", facts([*rows, ("learning used", usage)]))


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
) -> Table:
    """One row per experience, with what it was measured to do if `effects` are given (by id)."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for experience in library:
        text = _entry(experience, provenance=provenance)
        if effects is not None:
            text.append_text(_effect(effects.get(experience.id)))
        table.add_row(experience.id, text)
    return table


def _effect(effect: Effect | None) -> Text:
    if effect is None:
        return Text("\neffect not measured", style="dim")
    style = "green" if effect.low > 0 else "red" if effect.high < 0 else "dim"
    return Text(f"\neffect {effect.to_text()}", style=style)


def _entry(experience: Experience, *, provenance: bool) -> Text:
    text = Text(experience.text)
    if provenance:
        text.append(f"\n{told.origin_text(experience)}", style="dim")
    elif experience.pinned or experience.scope:
        marks = ["pinned"] * experience.pinned + ([f"only for {experience.scope}"] if experience.scope else [])
        text.append(f" ({', '.join(marks)})", style="dim")
    return text
