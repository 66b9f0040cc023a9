"""`tfgrpo library merge`: one library out of two, as a commit of the first one's history."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.library.history import show_changes
from tfgrpo_dspy.cli.library.tracked import library_file, library_to_change, read_any, write_commit
from tfgrpo_dspy.cli.lms import make_lm
from tfgrpo_dspy.cli.terminal import say
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.history.commits import Note
from tfgrpo_dspy.history.file import save_tracked
from tfgrpo_dspy.history.history import diff
from tfgrpo_dspy.library.apply import Change
from tfgrpo_dspy.library.combine import combine
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.text import show_path


def merge(
    first: Annotated[Path, typer.Argument(metavar="FILE", help="library.json, or the folder of one. Its ids stay.")],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="Another library, in any format.")],
    *,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the result here, and leave FILE as it is.")
    ] = None,
    no_lm: Annotated[bool, typer.Option("--no-lm", help="Ask no LM: leave out repetitions only.")] = False,
    lm: Annotated[str | None, typer.Option(metavar="MODEL", help="The LM that reconciles them.")] = None,
    api_base: Annotated[str | None, typer.Option(metavar="URL", help="Its endpoint.")] = None,
    objective: Annotated[str | None, typer.Option(metavar="TEXT", help="What the merged library is for.")] = None,
) -> None:
    """Merge two libraries: an LM reconciles what they say, or only repetitions are left out.

    FILE keeps its ids; experiences of OTHER get new ones, and their provenance says which they were. It is one commit
    in the history of FILE.
    """
    if (lm is None) != no_lm:
        raise SettingsError("name the LM that reconciles the libraries with --lm, or ask none with --no-lm")
    from tfgrpo_dspy.steps.reconcile import OBJECTIVE, Reconciled, reconcile

    path = library_file(first)
    tracked = library_to_change(path)
    old = tracked.library
    combined = combine([old, read_any(second)], names=[first.name, second.name])
    at_home = {e.id: e for e in old}  # in its own history an entry of FILE has no origin elsewhere
    entries = tuple(at_home.get(e.id, e) for e in combined.library)
    combined = combined._replace(library=replace(combined.library, experiences=entries))
    made = Reconciled(*combined)
    if lm is not None:
        from tfgrpo_dspy.steps.reflection import Reflection

        made = reconcile(combined, old, Reflection(make_lm(lm, api_base=api_base), retries=2), objective or OBJECTIVE)
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    reason = "; left out: ".join([f"merged with {second.name}", *filter(None, [", ".join(map(str, made.left_out))])])
    note = Note(author="import" if lm is None else "updater", reason=reason, at=at, refusals=made.refusals)
    history = tracked.history.record(made.library, note, (*_moves(made.library, old), *made.changes))
    if target is None:
        write_commit(path, history)
        return

    aside = save_tracked(history, target)
    show_changes(diff(old, made.library))
    put = f"; what was there is now {aside.name}" if aside is not None else ""
    say(f"commit {history.commits[-1].id} in {show_path(target)}{put}", style="bold")


def _moves(library: ExperienceLibrary, old: ExperienceLibrary) -> list[Change]:
    """What the history says of the experiences that came over: what they were, and what they rest on."""
    return [
        Change("add", e.id, None, e.text, "; ".join(filter(None, [f"it was {e.provenance.origin}", why])), sources)
        for e in library
        if e.id not in old and e.provenance.origin is not None
        for why, sources in [(e.provenance.reason, e.provenance.sources)]
    ]
