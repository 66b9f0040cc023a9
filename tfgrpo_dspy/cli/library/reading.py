"""Reading a library from any file that holds one."""

from __future__ import annotations

from pathlib import Path

from tfgrpo_dspy.cli.library.tracked import read_tracked
from tfgrpo_dspy.cli.terminal import show_path
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.library.library import ExperienceLibrary


def read_any(path: Path) -> ExperienceLibrary:
    """The library of a library file, a saved program or a run's folder."""
    from tfgrpo_dspy.cli.files import LIBRARY, library_of_program
    from tfgrpo_dspy.history.file import history_path
    from tfgrpo_dspy.library.foreign.skill import SKILL
    from tfgrpo_dspy.library.formats import read_library

    if (path / SKILL).is_file():
        return read_library(path)
    file = path / LIBRARY if path.is_dir() else path
    if file.suffix == ".json" and history_path(file).is_file():
        return read_tracked(file).library
    if not file.is_file():
        raise DataError(f"there is no file {show_path(file)}; check the path")
    saved = library_of_program(file)
    return read_library(file) if saved is None else saved
