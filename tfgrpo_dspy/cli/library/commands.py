"""`tfgrpo library`: look at libraries and their history, change, compare, export and import them.

Nothing here runs code, and only `merge` calls an LM.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.library import edits
from tfgrpo_dspy.cli.library.tracked import (
    ExperienceId,
    Json,
    LibraryFile,
    Reason,
    described_changes,
    history_to_show,
    library_file,
    library_to_change,
    note_of_a_person,
    read_any,
    show_changes,
    write_commit,
)
from tfgrpo_dspy.cli.terminal import SIMULATED, facts, out, say, table_of, us, write_json
from tfgrpo_dspy.errors import DataError, HistoryError, SettingsError
from tfgrpo_dspy.history import history as of
from tfgrpo_dspy.history.commits import Commit
from tfgrpo_dspy.history.file import load_tracked
from tfgrpo_dspy.library.file import load_library
from tfgrpo_dspy.library.formats import Format, write_library
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.reports.provenance import grounds_of, texts_of, title_of
from tfgrpo_dspy.runtime.database import NAME
from tfgrpo_dspy.text import counted, one_line, show_path

_COLUMNS = ("commit", "by", "when", "what", "training", "validation", "why")

app = typer.Typer(
    no_args_is_help=True, help="Look at libraries and their history, change, compare, export and import them."
)

_File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="library.json, .md or .txt, youtu-agent YAML, ACE playbook, AGENTS.md, program.json, a run's or skill's "
        "folder.",
    ),
]


@app.command(epilog="Example: tfgrpo library show out/library.json --provenance")
def show(
    file: _File,
    commit: Annotated[
        str | None, typer.Argument(metavar="[COMMIT]", help="A commit of its history, to show with its library.")
    ] = None,
    provenance: Annotated[bool, typer.Option("--provenance", help="Where each one came from, and why.")] = False,
    effects: Annotated[bool, typer.Option("--effects", help="What each one was measured to do.")] = False,
    json: Json = False,
) -> None:
    """Show the experiences of a library, as they are or after a commit."""
    if json:
        write_json(history_to_show(library_file(file)).at(commit) if commit is not None else read_any(file))
        return
    if commit is not None:
        _show_commit(file, commit)
        return
    from tfgrpo_dspy.cli.view import entries

    library = read_any(file)
    learned = f", learned with {', '.join(library.learned_with)}" if library.learned_with else ""
    domain = f" on {library.domain}" if library.domain else ""
    say(f"{counted(len(library), 'experience')}{domain}, about {library.tokens} tokens{learned}", style="bold")
    out().print(entries(library, provenance=provenance, effects=_effects_of(file) if effects else None))


@app.command(
    epilog="Example: tfgrpo library diff before/library.json after/library.json, "
    "or tfgrpo library diff out/library.json 3f2a 9c41"
)
def diff(
    file: _File,
    other: Annotated[
        str | None, typer.Argument(metavar="[FILE|COMMIT]", help="Another library, or a commit of this one.")
    ] = None,
    commit: Annotated[str | None, typer.Argument(metavar="[COMMIT]", help="A later commit. Default: now.")] = None,
    json: Json = False,
) -> None:
    """Show what turns one library into another; ids tell which experience is which.

    With one FILE: what its last commit changed. With one COMMIT: what changed since.
    """
    if commit is None and other is not None and (Path(other).exists() or not re.fullmatch("[0-9a-f]{4,10}", other)):
        found = of.diff(read_any(file), read_any(Path(other)))
    else:
        history = history_to_show(library_file(file))
        before = history.at(other) if other is not None else history.before(history.commits[-1])
        found = of.diff(before, history.at(commit) if commit is not None else history.library)
    if json:
        write_json(found)
    else:
        show_changes(found)


@app.command(epilog="Example: tfgrpo library log out/library.json")
def log(file: LibraryFile, json: Json = False) -> None:
    """Show the commits of a library, the last one first."""
    history = history_to_show(library_file(file))
    if json:
        write_json(history.commits[::-1])
        return
    out().print(table_of(_COLUMNS, [_row(commit) for commit in reversed(history.commits)]))


@app.command(epilog="Example: tfgrpo library blame out/library.json G7")
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


@app.command(epilog="Example: tfgrpo library rollback out/library.json --step 2")
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


@app.command(name="commit", epilog="Example: tfgrpo library commit out/library.json --reason 'shorter'")
def commit_(file: LibraryFile, reason: Reason = "") -> None:
    """Take what was changed in a library file by hand into its history, as a person's change."""
    path = library_file(file)
    tracked = load_tracked(path)
    if not tracked.difference:
        raise HistoryError(f"{show_path(path)} is what its history ends with; there is nothing to commit")
    write_commit(path, tracked.history.record(tracked.library, note_of_a_person(reason or "changed by hand")))


app.command(epilog="Example: tfgrpo library edit out/library.json G7 'When ..., do ...'")(edits.edit)
app.command(epilog="Example: tfgrpo library add out/library.json 'When ..., do ...'")(edits.add)
app.command(epilog="Example: tfgrpo library delete out/library.json G7")(edits.delete)
app.command(epilog="Example: tfgrpo library review out/library.json")(edits.review)
app.command(epilog="Example: tfgrpo library pin out/library.json G7")(edits.pin)
app.command(epilog="Example: tfgrpo library unpin out/library.json G7")(edits.unpin)
app.command(epilog="Example: tfgrpo library merge out/library.json other/library.json --lm openai/gpt-4.1-mini")(
    edits.merge
)


@app.command(epilog="Example: tfgrpo library example word-problems")
def example(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which one; without, they are listed.")] = None,
    target: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="A new folder for it. Default: one of its name, here.")
    ] = None,
) -> None:
    """Copy a library that comes with this package, with its history; it was learned with the simulated LM."""
    with as_file(files("tfgrpo_dspy") / "examples") as folder:
        known = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}
        if name is None:
            say(SIMULATED, style="yellow")
            for called, path in known.items():
                library = load_library(path / "library.json")
                say(f"{called}: {library.domain}, {counted(len(library), 'experience')}")
            return
        if name not in known:
            raise SettingsError(f"there is no example {name!r}; there are {', '.join(known)}")
        to = target if target is not None else Path(name)
        if to.exists():
            raise DataError(f"{show_path(to)} is there already; name another folder")
        shutil.copytree(known[name], to)
    say(f"{name} is in {show_path(to)}; look at it with {us()} library show {show_path(to)}, log, blame, diff")


@app.command(
    epilog="Example: tfgrpo library export out/library.json AGENTS.md, or ... skills/math, or ... p.txt --as ace"
)
def export(
    file: _File,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="A .json, .md, .txt or .yaml (youtu-agent) file, AGENTS.md or CLAUDE.md (a section between markers), "
            "or a folder (an Agent Skill).",
        ),
    ],
    format: Annotated[
        Format | None, typer.Option("--as", metavar="FORMAT", help="Whatever OUT is called: ace, ace-json, skill, ...")
    ] = None,
) -> None:
    """Write a library for another tool. Only JSON keeps provenance."""
    _write(file, target, format=format)


@app.command(name="import", epilog="Example: tfgrpo library import playbook.txt library.json")
def import_(
    foreign: _File,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The .json file to write.")],
    domain: Annotated[str | None, typer.Option(metavar="WORD", help="What it is about: math, ...")] = None,
) -> None:
    """Turn a library of another tool, or plain text, into one to start from."""
    if target.suffix.lower() != ".json":
        raise SettingsError(f"a library is imported into a .json file, got {target}; to write others, use export")
    _write(foreign, target, domain)


def _write(source: Path, target: Path, domain: str | None = None, format: Format | None = None) -> None:
    library = read_any(source)
    if domain is not None:
        library = replace(library, domain=one_line(domain) or None)
    write_library(library, target, format)
    say(f"{counted(len(library), 'experience')} written to {show_path(target)}")


def _show_commit(file: Path, id: str) -> None:
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


def _effects_of(file: Path) -> dict[str, Effect]:
    """What the experiences of a library were measured to do, by id.

    Raises:
        HistoryError: It has no history, or nothing was measured in it.
    """
    found = of.measured_effects(history_to_show(library_file(file)))
    if not found:
        raise HistoryError(
            f"no effects were measured for {show_path(file)}; `{us()} compile ... --trials` measures them"
        )
    return found


def _row(commit: Commit) -> tuple[str, ...]:
    refused = f", {len(commit.refusals)} refused" if commit.refusals else ""
    of = commit.scores
    scores = ((of.training, of.training_n), (of.validation, of.validation_n))
    means = ["" if mean is None else f"{mean:.3f} n={n}" for mean, n in scores]
    return (commit.id, commit.author, commit.when, f"{commit.summary}{refused}", *means, commit.reason)
