"""Writes a comparison to a folder: report.md, report.html, the figures and the table as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from evals.reports.figures import draw_all, to_svg
from evals.reports.html import to_html
from evals.reports.markdown import to_markdown
from evals.reports.report import report_of
from evals.scoring.study import Study
from evals.scoring.table import Table
from tfgrpo_dspy import MissingExtraError
from tfgrpo_dspy.kit import safe, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKDOWN, HTML, TABLE, FIGURES = "report.md", "report.html", "table.json", "figures"


def write_reports(study: Study, out: Path) -> dict[str, Figure]:
    """Write everything a reader needs into the folder; without matplotlib there are no figures.

    Returns:
        The figures by name.
    """
    try:
        figures = draw_all(study.table)
    except MissingExtraError:
        figures = {}
    report = report_of(study)
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(out / FIGURES / f"{name}.png")
    paths = {name: f"{FIGURES}/{name}.png" for name in figures}
    write_atomically(safe(to_markdown(report, paths)), out / MARKDOWN)
    svgs = {name: to_svg(figure, name) for name, figure in figures.items()}
    write_atomically(safe(to_html(report, svgs)), out / HTML)
    write_atomically(json.dumps(as_json(study.table), indent=2) + "\n", out / TABLE)
    return figures


def as_json(table: Table) -> dict[str, object]:
    """The table's figures, of JSON types; what single rows did is in their own files."""
    lines = [
        {
            "model": line.triple[0],
            "program": line.triple[1],
            "optimizer": line.optimizer,
            "verdict": line.verdict,
            "mean": None if line.mean is None else asdict(line.mean),
            "by_seed": line.by_seed,
            "pass_at_k": None if line.passed is None else asdict(line.passed),
            "gain": None if line.gain is None else asdict(line.gain),
            "p_holm": line.p_holm,
            "training": asdict(line.training),
            "evaluation": asdict(line.evaluation),
            "failed": line.failed,
            "lost": dict(line.lost),
        }
        for line in table.lines
    ]
    return {
        "title": table.title,
        "simulated": table.simulated,
        "k": table.k,
        "questions": table.questions,
        "seeds": table.seeds,
        "calls": table.calls,
        "lines": lines,
        "winner": None if table.winner is None else {"label": table.winner.line.label, **_winner(table)},
    }


def _winner(table: Table) -> dict[str, object]:
    winner = table.winner
    if winner is None:
        return {}
    return {"mean": asdict(winner.mean), "gain": None if winner.gain is None else asdict(winner.gain)}
