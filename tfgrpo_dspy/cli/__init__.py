"""The command line `tfgrpo`: the library's own functions with files in and files out, and nothing that they lack."""

from __future__ import annotations


def main() -> None:
    """Run `tfgrpo` on the arguments of this process."""
    from tfgrpo_dspy.cli.app import app

    app(prog_name="tfgrpo")
