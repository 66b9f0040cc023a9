"""Where a run comes from: code, machine user and package versions. No network, and nothing secret."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_PACKAGES = {"tfgrpo_dspy": "tfgrpo-dspy", "dspy": "dspy", "mlflow": "mlflow", "litellm": "litellm"}


def versions() -> dict[str, str]:
    """Versions by name, read from what is installed: importing LiteLLM for its version would take seconds."""
    return {**{name: _version(package) for name, package in _PACKAGES.items()}, "python": platform.python_version()}


def source_tags(folder: Path) -> dict[str, str]:
    """MLflow's tags for user, program and commit; a client-made run has none by itself."""
    tags = {"mlflow.source.name": sys.argv[0] or "python", "mlflow.source.type": "LOCAL", "mlflow.user": _user()}
    described = _git(folder)
    if described:
        tags["mlflow.source.git.commit"] = described.removesuffix("-dirty")
        tags["git.dirty"] = str(described.endswith("-dirty")).lower()
    return tags


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


def _git(folder: Path) -> str:
    """Full commit hash, with `-dirty` if files differ from it; empty outside a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
