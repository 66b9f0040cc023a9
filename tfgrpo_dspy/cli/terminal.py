"""What the terminal is shown: results on standard output; progress, warnings and errors on standard error."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tfgrpo_dspy.looks.value import plain
from tfgrpo_dspy.observers.progress import ProgressBar
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.text import visible

SIMULATED = "SIMULATED: no real model answers here; the figures show that the machinery works, nothing more."
_NAME = 26
"""Characters that a name in front of a row may have, e.g. `bootstrap-fewshot->tfgrpo`; names are kept in one piece."""


class _Console(Console):
    """One that writes no control characters but its own, whatever text it is given."""

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        shown = (s if s.control or s.text.isprintable() else Segment(visible(s.text), s.style) for s in buffer)
        return super()._render_buffer(shown)


_FOR_MACHINES: ContextVar[bool] = ContextVar("for_machines", default=False)


@contextmanager
def for_machines(asked: bool) -> Iterator[None]:
    """Leave standard output to a JSON document, if one was asked for: what people read goes to standard error."""
    before = _FOR_MACHINES.set(asked)
    try:
        yield
    finally:
        _FOR_MACHINES.reset(before)


def out() -> Console:
    """The console for results; made anew, because tests and pipes replace the stream."""
    return _Console(highlight=False, stderr=_FOR_MACHINES.get())


def err() -> Console:
    """The console for everything else."""
    return _Console(stderr=True, highlight=False)


def us() -> str:
    """How to call this command from here: `tfgrpo`, or its path while its environment is not activated."""
    called = Path(sys.argv[0])
    if shutil.which("tfgrpo") is not None or called.name != "tfgrpo" or not called.exists():
        return "tfgrpo"
    return os.path.relpath(called)


def terminal_progress(*, still: bool = False) -> ProgressBar:
    """A moving bar on a terminal, where the result says the rest; a line per step anywhere else, and if to be still."""
    console = Console(stderr=True, highlight=False, force_terminal=False) if still else err()
    return ProgressBar(console, lines=not console.is_terminal)


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names on the left, values on the right; rows without a value are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))
    return table


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int] = ()) -> Table:
    """A table without vertical lines, of plain texts; columns at the `numeric` positions are aligned on the right."""
    table, rows = Table(box=None, header_style="bold", padding=(0, 2, 0, 0)), list(rows)
    are_names = all(len(row[0]) <= _NAME for row in rows)
    for position, name in enumerate(columns):
        align: Literal["left", "right"] = "right" if position in set(numeric) else "left"
        table.add_column(name, justify=align, overflow="fold", no_wrap=position == 0 and are_names)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def section(title: str, *content: object) -> None:
    """Print a heading and, indented below it, its content."""
    console = out()
    console.print()
    console.print(Text(title, style="bold"))
    for part in content:
        console.print(Padding(Text(part) if isinstance(part, str) else part, (0, 0, 0, 2)))  # type: ignore[arg-type]


def say(text: str, *, style: str = "") -> None:
    """Print a line that is never broken, so that a path or command in it can be copied."""
    out().print(Text(text, style=style), soft_wrap=True)


def write_json(document: object) -> None:
    """Print a document for other programs, on one line and without credentials."""
    typer.echo(safe(json.dumps(plain(document), ensure_ascii=False)))


def warn(text: str) -> None:
    """Print a warning."""
    err().print(Text.assemble(("Warning: ", "bold yellow"), text), soft_wrap=True)


def begin(what: str) -> None:
    """Say at once what is being done, as what it needs takes seconds to load."""
    err().print(Text(f"{what} ...", style="dim"), soft_wrap=True)


def show_warnings_of_the_library() -> None:
    """Let what the package logs reach the terminal, without breaking a progress bar; DSPy's own only from errors on."""
    logger = logging.getLogger("tfgrpo_dspy")
    if not any(isinstance(handler, RichHandler) for handler in logger.handlers):
        handler = RichHandler(console=err(), show_time=False, show_path=False, markup=False)
        handler.setLevel(logging.WARNING)
        logger.addHandler(handler)
        logger.propagate = False
    for name in ("dspy", "LiteLLM", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
