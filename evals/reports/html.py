"""A report as one HTML page that needs nothing else: inline styles and figures, light and dark, fit to be printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from evals.reports.figures import COLOURS
from evals.reports.grid import Grid
from evals.reports.report import LearnedBy, Report

_STYLE = Path(__file__).with_name("report.css")
_LONG = 40
"""Characters from which on a cell is broken into lines."""
_ENTRY = re.compile(r"G\d+")


def to_html(report: Report, figures: Mapping[str, str]) -> str:
    """The report as a page.

    Args:
        report: What to say; every text is escaped here.
        figures: Name of a figure to its SVG, as `figures.to_svg` makes it.
    """
    style = _STYLE.read_text(encoding="utf-8")
    body = "\n".join(part for part in _body(report, {name: _themed(svg) for name, svg in figures.items()}) if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def _body(report: Report, figures: Mapping[str, str]) -> Iterator[str]:
    badge = '<span class="badge">simulated</span>' if report.simulated else ""
    yield f"<header><h1>{escape(report.title)} {badge}</h1>"
    yield f'<p class="quiet">{escape(report.simulated)}</p>' if report.simulated else ""
    yield "</header>"
    yield f'<section class="verdict"><h2>{escape(report.headline)}</h2>{_list(report.findings)}</section>'
    if report.warnings:
        yield f'<section class="note"><h2>Mind</h2>{_list(report.warnings)}</section>'
    yield from map(_grid, report.tables)
    yield _figure("gains", report, figures)
    yield _grid(report.scores)
    yield _grid(report.costs)
    yield _figure("cost", report, figures)
    if report.failures is not None:
        yield _grid(report.failures)
    yield _figure("curves", report, figures)
    if report.steps is not None:
        yield _grid(report.steps)
    if report.learned:
        yield "<section><h2>What was learned</h2>"
        yield from map(_learned, report.learned)
        yield "</section>"
    yield f"<section><h2>How it was measured</h2>{_list(report.statistics)}"
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.method)
    yield f"<dl>{facts}</dl></section>"


def _grid(grid: Grid) -> str:
    words = [_are_words([row[at] for row in grid.rows]) for at in range(len(grid.columns))]
    head = "".join(f"<th{_kind(w)}>{escape(column)}</th>" for column, w in zip(grid.columns, words, strict=True))
    tones = grid.tones or ("",) * len(grid.rows)
    rows = "".join(_row(row, tone, words) for row, tone in zip(grid.rows, tones, strict=True))
    note = f'<p class="quiet">{escape(grid.note)}</p>' if grid.note else ""
    return (
        f"<section><h2>{escape(grid.title)}</h2>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}</section>'
    )


def _are_words(cells: Sequence[str]) -> bool:
    """Whether a column holds words, which stand on the left; numbers stand on the right."""
    return not any(cell[:1] in set("0123456789+-<$") for cell in cells if cell)


def _kind(is_words: bool) -> str:
    return ' class="words"' if is_words else ""


def _row(cells: Sequence[str], tone: str, words: Sequence[bool]) -> str:
    first, *rest = cells
    kinds = [' class="words long"' if len(cell) > _LONG else _kind(w) for cell, w in zip(rest, words[1:], strict=True)]
    shown = "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(rest, kinds, strict=True))
    return f'<tr class="{escape(tone)}"><th scope="row">{escape(first)}</th>{shown}</tr>'


def _cell(text: str) -> str:
    """A value with its interval in two tones."""
    value, bracket, interval = escape(text).partition(" [")
    return f'{value} <span class="interval">[{interval}</span>' if bracket else value


def _learned(learned: LearnedBy) -> str:
    parts = "".join(_part(name, text) for name, text in learned.learned.parts)
    note = f'<p class="quiet">{escape(learned.note)}</p>' if learned.note else ""
    state = " open" if learned.is_open else ""
    return f"<details{state}><summary>{escape(learned.title)}</summary>{note}{parts}</details>"


def _part(name: str, text: str) -> str:
    if _ENTRY.fullmatch(name):
        return f'<p class="entry"><b>{escape(name)}</b> {escape(text)}</p>'
    return f"<h3>{escape(name)}</h3><pre>{escape(text)}</pre>"


def _figure(name: str, report: Report, figures: Mapping[str, str]) -> str:
    if name not in figures:
        return ""
    return f"<figure>{figures[name]}<figcaption>{escape(report.captions[name])}</figcaption></figure>"


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _themed(svg: str) -> str:
    """The figure in the page's colours, which change with light and dark."""
    for colour, name in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
