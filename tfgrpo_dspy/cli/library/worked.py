"""`tfgrpo library example`: the worked libraries that come with the package, copied to where they may be changed."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.terminal import SIMULATED, say, show_path, us
from tfgrpo_dspy.errors import DataError, SettingsError


def example(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which one; without, they are listed.")] = None,
    target: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="A new folder for it. Default: one of its name, here.")
    ] = None,
) -> None:
    """Copy a library that comes with this package, with its history; it was learned with the simulated LM."""
    from tfgrpo_dspy.library.file import load_library
    from tfgrpo_dspy.text import counted

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
