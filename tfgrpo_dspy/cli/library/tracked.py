"""A library file with its history, as the commands of `tfgrpo library` read and change it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tfgrpo_dspy.cli.terminal import out, say, us, warn
from tfgrpo_dspy.errors import DataError, HistoryError
from tfgrpo_dspy.history.commits import Commit, Note
from tfgrpo_dspy.history.file import Tracked, extend, history_path, load_tracked
from tfgrpo_dspy.history.history import History, LibraryDiff, diff
from tfgrpo_dspy.history.of_run import begin
from tfgrpo_dspy.library.foreign.skill import SKILL
from tfgrpo_dspy.library.formats import read_library
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.text import one_line, show_path

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
LibraryFile = Annotated[Path, typer.Argument(metavar="FILE", help="library.json, or the folder of one.")]
ExperienceId = Annotated[str, typer.Argument(metavar="ID", help="Id of an experience, e.g. G7.")]
Reason = Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; kept in the history.")]


def library_file(path: Path) -> Path:
    """The library.json meant by a path to it or to its folder.

    Raises:
        DataError: It is another file, or there is none.
    """
    from tfgrpo_dspy.cli.files import LIBRARY
    from tfgrpo_dspy.program.saved import saved_library

    file = path / LIBRARY if path.is_dir() else path
    if file.suffix != ".json" or (file.is_file() and saved_library(file) is not None):
        raise DataError(
            f"{show_path(file)} can have no history; only the .json file of a library has one, e.g. out/{LIBRARY}"
        )
    if not file.is_file() and not history_path(file).is_file():
        raise DataError(f"there is no file {show_path(file)}; check the path")
    return file


def read_any(path: Path) -> ExperienceLibrary:
    """The library of a library file, a saved program or a run's folder."""
    from tfgrpo_dspy.cli.files import LIBRARY
    from tfgrpo_dspy.program.saved import saved_library

    if (path / SKILL).is_file():
        return read_library(path)
    file = path / LIBRARY if path.is_dir() else path
    if file.suffix == ".json" and history_path(file).is_file():
        return read_tracked(file).library
    if not file.is_file():
        raise DataError(f"there is no file {show_path(file)}; check the path")
    saved = saved_library(file)
    return read_library(file) if saved is None else saved


def read_tracked(file: Path) -> Tracked:
    """The library and its history, for looking at; warns if they do not fit."""
    tracked = load_tracked(file)
    if tracked.difference:
        warn(tracked.difference)
    return tracked


def history_to_show(file: Path) -> History:
    """The history of a library.

    Raises:
        HistoryError: There is none.
    """
    history = read_tracked(file).history
    if not len(history):
        raise HistoryError(
            f"{show_path(file)} has no history yet; it begins with the first change, "
            f"e.g. {us()} library edit {show_path(file)} G0"
        )
    return history


def library_to_change(file: Path) -> Tracked:
    """The library and its history, which begins now if there is none.

    Raises:
        HistoryError: The file was changed outside its history.
    """
    tracked = load_tracked(file)
    if tracked.difference:
        raise HistoryError(tracked.difference)
    return tracked._replace(history=tracked.history if len(tracked.history) else begin(tracked.library))


def note_of_a_person(reason: str) -> Note:
    """What is said of a change that a person makes now."""
    return Note(author="person", reason=one_line(reason), at=time.strftime("%Y-%m-%dT%H:%M:%S%z"))


def write_commit(file: Path, history: History) -> None:
    """Write a history with one commit more than the file has, and say what it did."""
    from tfgrpo_dspy.cli.files import PROGRAM, refresh_files

    extend(file, history)
    made = history.commits[-1]
    out().print(described_changes(made, history))
    say(f"commit {made.id}: {made.summary}", style="bold")
    if not refresh_files(history.library, file):
        warn(f"{PROGRAM} does not say where it reads a library, so it was left as it is; compile it again")


def described_changes(commit: Commit, history: History) -> Text:
    """The lines that a commit takes away and adds, in the manner of git."""
    before = history.before(commit)
    after = history.at(commit.id)
    return diff_text(diff(before, after).to_text()) if commit.changes else Text("no change", style="dim")


def diff_text(lines: str) -> Text:
    """A diff in colours."""
    shown = [Text(line, style="green" if line.startswith("+") else "red") for line in lines.splitlines()]
    return Text("\n").join(shown)


def show_changes(changes: LibraryDiff) -> None:
    """A diff and its counts."""
    out().print(diff_text(changes.to_text()))
    counts = f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.modified)} changed"
    say(f"{counts}, {len(changes.kept)} as before", style="bold")
