"""`tfgrpo library`: look at libraries, compare, export and import them. Nothing here calls an LM or runs code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tfgrpo_dspy.cli.terminal import out, say, show_path
from tfgrpo_dspy.errors import DataError, SettingsError

if TYPE_CHECKING:
    from tfgrpo_dspy.experience import ExperienceLibrary

app = typer.Typer(no_args_is_help=True, help="Look at libraries, compare, export and import them.")

_File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="library.json, .md or .txt, youtu-agent YAML, ACE playbook, program.json, or a run's folder.",
    ),
]


@app.command(epilog="Example: tfgrpo library show out/library.json --provenance")
def show(
    file: _File,
    provenance: Annotated[bool, typer.Option("--provenance", help="Where each one came from, and why.")] = False,
) -> None:
    """Show the experiences of a library."""
    from tfgrpo_dspy.cli.story import count
    from tfgrpo_dspy.cli.view import entries

    library = _read(file)
    learned = f", learned with {', '.join(library.learned_with)}" if library.learned_with else ""
    say(f"{count(len(library), 'experience')}, about {library.tokens} tokens{learned}", style="bold")
    out().print(entries(library, provenance=provenance))


@app.command(epilog="Example: tfgrpo library diff before/library.json after/library.json")
def diff(a: _File, b: _File) -> None:
    """Show what turns library A into library B; ids tell which experience is which."""
    from tfgrpo_dspy.history import diff as compared

    changes = compared(_read(a), _read(b))
    for line in changes.to_text().splitlines():
        out().print(Text(line, style="green" if line.startswith("+") else "red"))
    counts = f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.modified)} changed"
    say(f"{counts}, {len(changes.kept)} as before", style="bold")


@app.command(epilog="Example: tfgrpo library export out/library.json experiences.md")
def export(
    file: _File, target: Annotated[Path, typer.Argument(metavar="OUT", help="A .json, .md or .txt file to write.")]
) -> None:
    """Write a library as JSON, Markdown or plain text. Only JSON keeps provenance."""
    _write(file, target)


@app.command(name="import", epilog="Example: tfgrpo library import playbook.txt library.json")
def import_(
    foreign: _File, target: Annotated[Path, typer.Argument(metavar="OUT", help="The .json file to write.")]
) -> None:
    """Turn a youtu-agent YAML, an ACE playbook or plain text into a library to start from."""
    if target.suffix.lower() != ".json":
        raise SettingsError(f"a library is imported into a .json file, got {target}; to write others, use export")
    _write(foreign, target)


def _write(source: Path, target: Path) -> None:
    from tfgrpo_dspy.cli.story import count
    from tfgrpo_dspy.formats import write_library

    library = _read(source)
    write_library(library, target)
    say(f"{count(len(library), 'experience')} written to {show_path(target)}")


def _read(path: Path) -> ExperienceLibrary:
    """The library of a library file, a saved program or a run's folder."""
    from tfgrpo_dspy.cli.files import LIBRARY, library_of_program
    from tfgrpo_dspy.formats import read_library

    file = path / LIBRARY if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"there is no file {show_path(file)}; check the path")
    saved = library_of_program(file)
    return read_library(file) if saved is None else saved
