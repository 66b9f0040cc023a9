"""What the benchmarks share: targets, the table they print and the JSON they write."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


class Target(NamedTuple):
    """A figure and what it has to be."""

    name: str
    value: float
    bound: float
    at_least: bool = False
    """Whether the bound is the least; otherwise it is the most."""

    @property
    def met(self) -> bool:
        """Whether the figure is within the bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


class Figures(NamedTuple):
    """A table of measurements."""

    title: str
    rows: Sequence[Mapping[str, object]]
    """Column to value; all rows have the same columns."""


def report(benchmark: str, tables: Sequence[Figures], targets: Sequence[Target]) -> int:
    """Print tables and verdicts, write both to `results/BENCHMARK.json`.

    Returns:
        The exit code: 0 if every target is met, else 1.
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    for figures in tables:
        console.print(_table(figures))
    verdicts = [_verdict(target) for target in targets]
    console.print(_table(Figures("verdict", verdicts)))
    document = {
        "benchmark": benchmark,
        "versions": {"python": platform.python_version(), "dspy": version("dspy")},
        "cores": os.cpu_count(),
        "tables": {figures.title: [dict(row) for row in figures.rows] for figures in tables},
        "verdict": verdicts,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{benchmark}.json").write_text(json.dumps(document, indent=2, default=_rounded) + "\n")
    return 0 if all(target.met for target in targets) else 1


def progress(text: str) -> None:
    """Say on stderr what is being measured."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _table(figures: Figures) -> Table:
    table = Table(title=figures.title, title_justify="left")
    for column in figures.rows[0] if figures.rows else ():
        table.add_column(column, justify="left" if isinstance(figures.rows[0][column], str) else "right")
    for row in figures.rows:
        table.add_row(*(_shown(value) for value in row.values()))
    return table


def _verdict(target: Target) -> Mapping[str, object]:
    sign = ">=" if target.at_least else "<="
    verdict = "met" if target.met else "MISSED"
    return {
        "figure": target.name,
        "value": round(target.value, 3),
        "target": f"{sign} {target.bound:g}",
        "verdict": verdict,
    }


def _shown(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def _rounded(value: object) -> object:
    raise TypeError(f"a figure must be a number or a text, got {type(value).__name__}")


def peak_memory() -> float:
    """The most memory that this process has held so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # that of `getrusage` is inherited from the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1000
    import resource

    unit = 1 if sys.platform == "darwin" else 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
