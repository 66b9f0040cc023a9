"""`tfgrpo library`: look at libraries and their history, change, compare, export and import them.

Nothing here runs code, and only `merge` calls an LM.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.library import edits, history
from tfgrpo_dspy.cli.library import merge as merging
from tfgrpo_dspy.cli.library.tracked import history_to_show, library_file, read_any
from tfgrpo_dspy.cli.terminal import SIMULATED, out, say, us, write_json
from tfgrpo_dspy.errors import DataError, SettingsError
from tfgrpo_dspy.history.history import diff as compared
from tfgrpo_dspy.library.file import load_library
from tfgrpo_dspy.library.formats import Format, write_library
from tfgrpo_dspy.text import counted, one_line, show_path

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
    json: history.Json = False,
) -> None:
    """Show the experiences of a library, as they are or after a commit."""
    if json:
        write_json(history_to_show(library_file(file)).at(commit) if commit is not None else read_any(file))
        return
    if commit is not None:
        history.show_commit(file, commit)
        return
    from tfgrpo_dspy.cli.view import entries

    library = read_any(file)
    learned = f", learned with {', '.join(library.learned_with)}" if library.learned_with else ""
    domain = f" on {library.domain}" if library.domain else ""
    say(f"{counted(len(library), 'experience')}{domain}, about {library.tokens} tokens{learned}", style="bold")
    out().print(entries(library, provenance=provenance, effects=history.effects_of(file) if effects else None))


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
    json: history.Json = False,
) -> None:
    """Show what turns one library into another; ids tell which experience is which.

    With one FILE: what its last commit changed. With one COMMIT: what changed since.
    """
    if other is None or commit is not None or history.is_commit(other):
        found = history.diff_of(file, other, commit)
    else:
        found = compared(read_any(file), read_any(Path(other)))
    if json:
        write_json(found)
    else:
        history.show_changes(found)


app.command(epilog="Example: tfgrpo library log out/library.json")(history.log)
app.command(epilog="Example: tfgrpo library blame out/library.json G7")(history.blame)
app.command(epilog="Example: tfgrpo library rollback out/library.json --step 2")(history.rollback)
app.command(name="commit", epilog="Example: tfgrpo library commit out/library.json --reason 'shorter'")(history.commit_)
app.command(epilog="Example: tfgrpo library edit out/library.json G7 'When ..., do ...'")(edits.edit)
app.command(epilog="Example: tfgrpo library add out/library.json 'When ..., do ...'")(edits.add)
app.command(epilog="Example: tfgrpo library delete out/library.json G7")(edits.delete)
app.command(epilog="Example: tfgrpo library review out/library.json")(edits.review)
app.command(epilog="Example: tfgrpo library pin out/library.json G7")(edits.pin)
app.command(epilog="Example: tfgrpo library unpin out/library.json G7")(edits.unpin)
app.command(epilog="Example: tfgrpo library merge out/library.json other/library.json --lm openai/gpt-4.1-mini")(
    merging.merge
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
