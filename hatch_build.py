"""Puts `programs`, `optimizers` and `evals` into the wheel, inside `tfgrpo_dspy`.

Their names are too common for the top of anybody's site-packages. In a clone they stay at the top; on the way into a
wheel every mention of one of their modules (in an import, a string, a docstring) gets `tfgrpo_dspy.` in front of it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "tfgrpo_dspy"
FOLDERS = ("programs", "optimizers", "evals")
_ANY = "|".join(FOLDERS)
_MODULE = re.compile(rf"(?<![\w./-])(?:{_ANY})(?:\.\w+)+")
_FOLDER = re.compile(rf"(?<=from )(?:{_ANY})(?= import )|(?<=-m )(?:{_ANY})\b(?!\.)")


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Called by hatchling; an editable install is left as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders' files to the wheel."""
        if version == "editable":
            return
        root = Path(self.root)
        self._moved = tempfile.TemporaryDirectory()
        for path in files_of(root):
            name = path.relative_to(root)
            source = path
            if path.suffix == ".py":
                source = Path(self._moved.name) / name
                source.parent.mkdir(parents=True, exist_ok=True)
                source.write_text(moved(path.read_text(encoding="utf-8"), root), encoding="utf-8")
            build_data["force_include"][str(source)] = f"{LIBRARY}/{name.as_posix()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take away what was written on the way."""
        if version != "editable":
            self._moved.cleanup()


def files_of(root: Path) -> Iterator[Path]:
    """The folders' modules and data files."""
    for folder in FOLDERS:
        found = sorted(path for path in (root / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
        yield from (path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def moved(text: str, root: Path) -> str:
    """A module's text with the folders' modules named as they are in the wheel."""
    text = _MODULE.sub(lambda match: f"{LIBRARY}.{match[0]}" if _is_module(match[0], root) else match[0], text)
    return _FOLDER.sub(lambda match: f"{LIBRARY}.{match[0]}", text)


def _is_module(dotted: str, root: Path) -> bool:
    """Whether it begins with a module: `programs.math.react` does, `programs.made` is an attribute of somebody's."""
    first = root.joinpath(*dotted.split(".")[:2])
    return first.is_dir() or first.with_suffix(".py").is_file()
