"""The command line `tfgrpo`: the library's own functions with files in and files out, and nothing that they lack.

Its public names are what commands of one's own are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.cli.boundary import UNRECORDED, Away, Commands, Interrupted, serve
    from tfgrpo_dspy.cli.lms import make_lm
    from tfgrpo_dspy.cli.options.taking import option, taking
    from tfgrpo_dspy.cli.references import examples_for, load_metric, load_program
    from tfgrpo_dspy.cli.terminal import (
        SIMULATED,
        begin,
        err,
        say,
        section,
        show_warnings_of_the_library,
        table_of,
        warn,
    )
    from tfgrpo_dspy.lm.budget import price_of
    from tfgrpo_dspy.names.reference import load_attribute
    from tfgrpo_dspy.text import show_path

__all__ = [
    "SIMULATED",
    "UNRECORDED",
    "Away",
    "Commands",
    "Interrupted",
    "begin",
    "err",
    "examples_for",
    "load_attribute",
    "load_metric",
    "load_program",
    "main",
    "make_lm",
    "option",
    "price_of",
    "say",
    "section",
    "serve",
    "show_path",
    "show_warnings_of_the_library",
    "table_of",
    "taking",
    "warn",
]

__getattr__, __dir__ = lazily(__name__)


def main() -> None:
    """Run `tfgrpo` on the arguments of this process."""
    from tfgrpo_dspy.cli.boundary import serve

    serve(_app, "tfgrpo")


def _app() -> Callable[..., object]:
    from tfgrpo_dspy.cli.app import app

    return app
