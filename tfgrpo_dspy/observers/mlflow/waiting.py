"""The end of a run waits for what is still to be written, and shows that it does; an interrupt ends the waiting."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from tfgrpo_dspy.observers.progress import bars
from tfgrpo_dspy.text import counted

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.writer import Progress, Writer

logger = logging.getLogger(__name__)

_SILENT = 2.0
"""Seconds of waiting of which nothing is said."""
_GLANCE = 0.1
"""Seconds between two looks."""


def wait_for(writer: Writer, seconds: float | None = None) -> bool:
    """Wait until all that is due was written, or tried once more.

    Args:
        writer: Who writes.
        seconds: At most so many; None for as long as it takes.

    Returns:
        Whether it was waited for to the end: not if the time was up or the user interrupted the waiting, which takes
        nothing from what is due.
    """
    asking, began = writer.ask(), time.monotonic()
    first = _SILENT if seconds is None else min(_SILENT, seconds)
    try:
        if (now := writer.progress(asking, first)).is_over:
            return True
        with _shown(now) as show:
            while not (now := writer.progress(asking, _GLANCE)).is_over:
                show(now)
                if seconds is not None and time.monotonic() - began >= seconds:
                    return False
    except KeyboardInterrupt:
        return False
    return True


@contextmanager
def _shown(so_far: Progress) -> Iterator[Callable[[Progress], None]]:
    """Shows how far the writing is: a bar on a terminal; elsewhere one line in the log says what is waited for."""
    if not sys.stderr.isatty():
        left = counted(so_far.left, "record")
        logger.warning("MLflow is slow: waiting for %s to be written; Ctrl-C leaves them unwritten", left)
        yield lambda now: None
        return
    with bars(Console(file=sys.stderr), title="recording to MLflow") as progress:
        task = progress.add_task("Ctrl-C leaves the rest", total=None, left="")

        def show(now: Progress) -> None:
            progress.update(task, completed=now.written, total=now.written + now.left)

        yield show
