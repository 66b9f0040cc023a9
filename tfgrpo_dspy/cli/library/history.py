"""`tfgrpo library log|blame|rollback|commit`, and the commits that `show` and `diff` tell of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.library.tracked import (
    described_changes,
    diff_text,
    history_to_show,
    library_file,
    library_to_change,
    note_of_a_person,
    write_commit,
)
from tfgrpo_dspy.cli.terminal import facts, out, say, table_of, us, write_json
from tfgrpo_dspy.errors import HistoryError, SettingsError
from tfgrpo_dspy.history import history as of
from tfgrpo_dspy.history.commits import Commit
from tfgrpo_dspy.history.file import load_tracked
from tfgrpo_dspy.history.history import LibraryDiff, measured_effects
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.reports.provenance import grounds_of, texts_of, title_of
from tfgrpo_dspy.runtime.database import NAME
from tfgrpo_dspy.text import counted, show_path

_COLUMNS = ("commit", "by", "when", "what", "training", "validation", "why")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
LibraryFile = Annotated[Path, typer.Argument(metavar="FILE", help="library.json, or the folder of one.")]
ExperienceId = Annotated[str, typer.Argument(metavar="ID", help="Id of an experience, e.g. G7.")]
Reason = Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; kept in the history.")]


def log(file: LibraryFile, json: Json = False) -> None:
    """Show the commits of a library, the last one first."""
    history = history_to_show(library_file(file))
    if json:
        write_json(history.commits[::-1])
        return
    out().print(table_of(_COLUMNS, [_row(commit) for commit in reversed(history.commits)]))


def blame(file: LibraryFile, id: ExperienceId, json: Json = False) -> None:
    """Show how an experience came to be what it is: each text, when, by whom, why, and from which rollouts."""
    from tfgrpo_dspy.cli.view import show_change

    history, id = history_to_show(library_file(file)), id.strip().removeprefix("[").removesuffix("]")
    chapters = of.blame(history, id)
    if json:
        write_json(chapters)
        return
    said = "is in the library" if id in history.library else "is no longer in the library"
    say(f"{id} {said}; {counted(len(chapters), 'change')}", style="bold")
    if effect := of.measured_effects(history).get(id):
        say(f"effect {effect.to_text()}")
    for chapter in chapters:
        before, after = texts_of(chapter)
        grounds = [("from" if i == 0 else " ", text) for i, text in enumerate(grounds_of(chapter))]
        rows = [("why", chapter.reason), *grounds]
        show_change(title_of(chapter), before, after, rows)
    rollouts = [name for chapter in chapters for source in chapter.change.sources for name in source.rollouts]
    if rollouts and (file / "log" / NAME).is_file():
        say(f"\nWhat was read and done there: {us()} show-rollout {show_path(file)} {rollouts[0]}", style="dim")


def rollback(
    file: LibraryFile,
    commit: Annotated[
        str | None, typer.Argument(metavar="COMMIT", help="The commit to go back to. Its first 4 digits are enough.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(metavar="N", help="The step to go back to; 0 is before the first.")
    ] = None,
    reason: Reason = "",
) -> None:
    """Make a library what it was after an earlier commit or step; that is a commit, too."""
    to = commit if step is None else step
    if to is None or (commit is not None and step is not None):
        raise SettingsError("name the commit to go back to or --step N, one of the two")
    path = library_file(file)
    write_commit(path, of.rollback(library_to_change(path).history, to, note_of_a_person(reason)))


def commit_(file: LibraryFile, reason: Reason = "") -> None:
    """Take what was changed in a library file by hand into its history, as a person's change."""
    path = library_file(file)
    tracked = load_tracked(path)
    if not tracked.difference:
        raise HistoryError(f"{show_path(path)} is what its history ends with; there is nothing to commit")
    write_commit(path, tracked.history.record(tracked.library, note_of_a_person(reason or "changed by hand")))


def show_commit(file: Path, id: str) -> None:
    """One commit, and the library after it."""
    from tfgrpo_dspy.cli.view import entries

    history = history_to_show(library_file(file))
    commit = history.find(id)
    refused = "; ".join(f"{r.operation.op} {getattr(r.operation, 'text', '')}: {r.reason}" for r in commit.refusals)
    out().print(facts([*zip(_COLUMNS, _row(commit), strict=True), ("refused", refused)]))
    out().print(described_changes(commit, history))
    library = history.at(commit.id)
    say(f"\n{counted(len(library), 'experience')} after it, about {library.tokens} tokens", style="bold")
    out().print(entries(library))


def effects_of(file: Path) -> dict[str, Effect]:
    """What the experiences of a library were measured to do, by id.

    Raises:
        HistoryError: It has no history, or nothing was measured in it.
    """
    found = measured_effects(history_to_show(library_file(file)))
    if not found:
        raise HistoryError(
            f"no effects were measured for {show_path(file)}; `{us()} compile ... --trials` measures them"
        )
    return found


def is_commit(text: str) -> bool:
    """Whether an argument names a commit rather than a file."""
    return re.fullmatch(r"[0-9a-f]{4,10}", text) is not None and not Path(text).exists()


def diff_of(file: Path, first: str | None, second: str | None) -> LibraryDiff:
    """What changed between two commits, from one to now, or with the last commit."""
    history = history_to_show(library_file(file))
    before = history.at(first) if first is not None else history.before(history.commits[-1])
    return of.diff(before, history.at(second) if second is not None else history.library)


def show_changes(changes: LibraryDiff) -> None:
    """A diff and its counts."""
    out().print(diff_text(changes.to_text()))
    counts = f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.modified)} changed"
    say(f"{counts}, {len(changes.kept)} as before", style="bold")


def _row(commit: Commit) -> tuple[str, ...]:
    refused = f", {len(commit.refusals)} refused" if commit.refusals else ""
    of = commit.scores
    scores = ((of.training, of.training_n), (of.validation, of.validation_n))
    means = ["" if mean is None else f"{mean:.3f} n={n}" for mean, n in scores]
    return (commit.id, commit.author, commit.when, f"{commit.summary}{refused}", *means, commit.reason)
