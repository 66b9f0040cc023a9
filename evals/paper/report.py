"""What a run of a paper's table says, as the report that the harness writes for any comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evals.paper.grids import grids_of
from evals.paper.outcome import Outcome, Part
from evals.paper.said import findings_of, headline_of
from evals.paper.tables import SOURCE
from evals.reports.figures import draw_all, to_svg
from evals.reports.grid import Grid
from evals.reports.html import to_html
from evals.reports.markdown import to_markdown
from evals.reports.report import Report, report_of
from evals.reports.written import FIGURES, HTML, MARKDOWN, TABLE, as_json
from tfgrpo_dspy import MissingExtraError
from tfgrpo_dspy.kit import safe, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CAPTION = (
    "Paired gain over the baseline of the same model and program, all test questions together, with its interval."
)


def report_of_table(outcome: Outcome, remarks: Sequence[str] = ()) -> Report:
    """The report of a table: published and ours first, then what the harness says of the rows.

    Args:
        outcome: What was run.
        remarks: What a reader must not overlook, besides the harness's own warnings.
    """
    reports = [report_of(part.study) for part in outcome.parts]
    last, several = reports[-1], len(reports) > 1
    others = [grid for part, r in list(zip(outcome.parts, reports, strict=True))[:-1] for grid in _scored(part, r)]
    return replace(
        last,
        title=f"{outcome.table.title}: published and ours",
        simulated=next((r.simulated for r in reports if r.simulated), ""),
        headline=headline_of(outcome),
        findings=tuple(findings_of(outcome)),
        warnings=(*remarks, *dict.fromkeys(line for r in reports for line in r.warnings)),
        tables=(*grids_of(outcome), *others),
        scores=_named(last.scores, outcome.parts[-1], several),
        costs=_named(last.costs, outcome.parts[-1], several),
        failures=_failures(reports),
        learned=tuple(learned for r in reports for learned in r.learned),
        method=tuple(_method(outcome, reports)),
        captions={**last.captions, "gains": _CAPTION},
    )


def write_report(report: Report, outcome: Outcome, folder: Path) -> dict[str, Figure]:
    """Write report.md, report.html, table.json and the figures of a table of one domain; returns the figures."""
    figures = _figures(outcome)
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / FIGURES / f"{name}.png")
    paths = {name: f"{FIGURES}/{name}.png" for name in figures}
    svgs: Mapping[str, str] = {name: to_svg(figure, name) for name, figure in figures.items()}
    write_atomically(safe(to_markdown(report, paths)), folder / MARKDOWN)
    write_atomically(safe(to_html(report, svgs)), folder / HTML)
    write_atomically(safe(json.dumps(_as_json(outcome), indent=2, ensure_ascii=False)) + "\n", folder / TABLE)
    return figures


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "table": outcome.table.name,
        "source": SOURCE,
        "simulated": outcome.simulated,
        "beside": [asdict(grid) for grid in grids_of(outcome)],
        "domains": {part.plan.domain.name: as_json(part.study.table) for part in outcome.parts},
    }


def _figures(outcome: Outcome) -> dict[str, Figure]:
    if len(outcome.parts) > 1:  # a figure shows one set of questions
        return {}
    try:
        return draw_all(outcome.parts[0].study.table)
    except MissingExtraError:
        return {}


def _scored(part: Part, report: Report) -> Iterator[Grid]:
    yield _named(report.scores, part, True)
    yield _named(report.costs, part, True)


def _named(grid: Grid, part: Part, several: bool) -> Grid:
    tests = " and ".join(test.shown for test in part.plan.sets.tests)
    where = f"{part.plan.domain.name}: " if several else ""
    return replace(
        grid,
        title=f"{where}{grid.title}, {tests} together" if len(part.plan.sets.tests) > 1 else f"{where}{grid.title}",
    )


def _failures(reports: Sequence[Report]) -> Grid | None:
    found = [r.failures for r in reports if r.failures is not None]
    if not found:
        return None
    return replace(found[0], rows=tuple(row for grid in found for row in grid.rows))


def _method(outcome: Outcome, reports: Sequence[Report]) -> Iterator[tuple[str, str]]:
    yield "published figures", f"{SOURCE}, Training-Free Group Relative Policy Optimization"
    for note in outcome.table.notes:
        yield "of the published figures", note
    for part in outcome.parts:
        for note in part.plan.sets.notes:
            yield f"data, {part.plan.domain.name}", note
    for part, report in zip(outcome.parts, reports, strict=True):
        several = len(reports) > 1
        yield from ((f"{part.plan.domain.name}: {name}" if several else name, text) for name, text in report.method)
