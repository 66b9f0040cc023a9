"""The package as a user has it: built, and installed into a folder of its own, with nothing of this clone in reach."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NEEDED = ("dspy", "hatchling", "mlflow", "rich", "typer", "yaml")
"""Enough to find every folder that dependencies are installed in."""


def build(kind: str, folder: Path, root: Path = ROOT) -> Path:
    """The wheel or sdist of a source tree, in a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    [built] = folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return built


def commands_of(page: Path) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Installed:
    """A place where the wheel is installed.

    Python runs without `site` there (-S): a `.pth` file of an editable install would put this clone on the path.
    """

    folder: Path

    @classmethod
    def of(cls, wheel: Path, folder: Path) -> Installed:
        """Install it."""
        made = cls(folder)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--target", str(made.site), str(wheel)], check=True, capture_output=True)
        made.bin.mkdir()
        python = f"exec '{sys.executable}'"
        for name, words in {
            "python": f'{python} -S "$@"',
            "tfgrpo": f"{python} -S '{made.site}/bin/tfgrpo' \"$@\"",
            "mlflow": f'{python} -S -m mlflow "$@"',
            "uvicorn": f'{python} -S -m uvicorn "$@"',  # serves MLflow's models
            "pip": f"{python} -m pip \"$@\" --quiet --no-deps --no-index --no-build-isolation --target '{made.site}'",
        }.items():
            (made.bin / name).write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
            (made.bin / name).chmod(0o755)
        return made

    @property
    def site(self) -> Path:
        """What stands for site-packages."""
        return self.folder / "site"

    @property
    def bin(self) -> Path:
        """The commands."""
        return self.folder / "bin"

    @cached_property
    def environment(self) -> dict[str, str]:
        """In which the commands are found, and the packages that this one depends on."""
        folders = {str(Path(find_spec(name).origin).parents[1]) for name in _NEEDED}
        path = os.pathsep.join([str(self.bin), str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join([str(self.site), *folders]), "COLUMNS": "200"}

    def run(self, script: str, folder: Path, *, code: int = 0) -> str:
        """What a shell says that stops at the first command that fails; what it leaves running is ended."""
        guarded = f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", guarded],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout
