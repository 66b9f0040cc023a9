"""How a comparison shows that it moves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import dspy
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from evals.harness.rows import Row, RowResult
from evals.harness.running import Listener
from evals.harness.training import Unanswered
from evals.scoring.verdicts import estimate_text
from tfgrpo_dspy.cli import Away, Interrupted, err
from tfgrpo_dspy.kit import counted
from tfgrpo_dspy.statistics import mean_at_k

_SAID = "optimizers.log"
_MINUTE = 60.0
"""Seconds without a word after which a log gets a line."""


@contextmanager
def aside(folder: Path) -> Iterator[None]:
    """What optimizers print goes to a file of the folder instead of between our lines."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _SAID).open("a", encoding="utf-8") as file, redirect_stdout(file):
        yield


class Display(Listener):
    """A bar on a terminal, and a line per finished row anywhere; in a log also a line a minute.

    Args:
        rows: All of them.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._console = err()
        self._rows = list(rows)
        self._done, self._said_at = 0, time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=None, what="")

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._progress.stop()
        kept = f"{self._done} of {counted(len(self._rows), 'row')} are finished and kept; give the same command again"
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted; {kept} to go on")
        if isinstance(error, Unanswered):
            raise Away(f"{error}; {kept} to go on once that is over") from error

    def begins(self, row: Row) -> tuple[()]:
        """Show which one."""
        number = f"{self._done + 1} of {len(self._rows)}"
        self._progress.reset(self._bar, description=f"row {number}: {row.name}", total=None, what="training")
        return ()

    def advances(self, row: Row, phase: str, done: int, total: int | None) -> None:
        """Show how far."""
        unit = "LM calls to learn" if phase == "training" else "questions"
        again = " again, on fresh rollouts" if phase == "again" else ""
        if not self._console.is_terminal and time.monotonic() - self._said_at >= _MINUTE:
            of = f" of {total:,}" if total is not None else ""
            self._print(Text(f"[{self._done}/{len(self._rows)}] {row.name}{again}: {done:,}{of} {unit}"))
        self._progress.update(
            self._bar, completed=done, total=total, description=f"{row.name}{again}", what=f"{done:,} {unit}"
        )

    def ends(self, row: Row, result: RowResult, program: dspy.Module | None) -> None:
        """Say what came of it."""
        self._done += 1
        if result.error is not None:
            told = Text.assemble(("failed: ", "bold red"), result.error)
        else:
            score = estimate_text(mean_at_k(result.rewards))
            cached = "" if program is not None else ", finished before"
            told = Text(f"Mean@{row.task.k} {score}, {result.training.usage.lm_calls:,} calls to learn{cached}")
        head = f"[{self._done}/{len(self._rows)}] {row.name}: "
        self._print(Text.assemble((head, "bold"), told))

    def _print(self, text: Text) -> None:
        self._said_at = time.monotonic()
        self._console.print(text, soft_wrap=True)
