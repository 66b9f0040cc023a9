"""A report as Markdown, for a repository or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from evals.reports.grid import Grid
from evals.reports.report import LearnedBy, Report
from tfgrpo_dspy.kit import one_line

_ACTIVE = re.compile(r"([\\`*_<>|#~&]|\[|\](?=\())")


def to_markdown(report: Report, figures: Mapping[str, str]) -> str:
    """The report as Markdown.

    Args:
        report: What to say.
        figures: Name of a figure to the path of its file, as seen from the report's.
    """
    return "\n\n".join(block for block in _blocks(report, figures) if block) + "\n"


def grid_blocks(grid: Grid) -> Iterator[str]:
    """A table with its title and note."""
    yield f"## {_text(grid.title)}"
    yield _table(grid.columns, grid.rows)
    yield _text(grid.note)


def _blocks(report: Report, figures: Mapping[str, str]) -> Iterator[str]:
    yield f"# {_text(report.title)}"
    yield f"**{_text(report.simulated)}**" if report.simulated else ""
    yield f"## {_text(report.headline)}"
    yield _list(report.findings)
    yield "\n".join(f"> **Note.** {_text(line)}  " for line in report.warnings)
    for grid in report.tables:
        yield from grid_blocks(grid)
    yield _figure("gains", report, figures)
    yield from grid_blocks(report.scores)
    yield from grid_blocks(report.costs)
    yield _figure("cost", report, figures)
    if report.failures is not None:
        yield from grid_blocks(report.failures)
    yield _figure("curves", report, figures)
    if report.steps is not None:
        yield from grid_blocks(report.steps)
    if report.learned:
        yield "## What was learned"
        for learned in report.learned:
            yield from _learned(learned)
    yield "## How it was measured"
    yield _table(("", ""), report.method)
    yield _list(report.statistics)


def _learned(learned: LearnedBy) -> Iterator[str]:
    yield f"### {_text(learned.title)}"
    yield _text(learned.note)
    yield "\n".join(f"- **{_text(name)}** {_text(text)}" for name, text in learned.learned.parts)


def _figure(name: str, report: Report, figures: Mapping[str, str]) -> str:
    return f"![{_text(report.captions[name])}]({figures[name]})" if name in figures else ""


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_text(line)}" for line in lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[_text(cell) for cell in row] for row in (columns, *rows)]
    cells.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _ACTIVE.sub(r"\\\1", one_line(text))
