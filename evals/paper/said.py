"""What a run of a paper's table allows to say, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from evals.paper.grids import signed_percent
from evals.paper.outcome import Outcome, Part
from evals.paper.tables import Column
from evals.scoring.table import Line as Measured
from evals.scoring.verdicts import power


def headline_of(outcome: Outcome) -> str:
    """The one sentence to remember: which lines differ from their baselines, over all test questions of a domain."""
    said = [_verdicts(outcome, part) for part in outcome.parts]
    several = len(outcome.parts) > 1
    named = (f"{part.plan.domain.name}: {text}" for part, text in zip(outcome.parts, said, strict=True))
    return " ".join(named if several else said)


def findings_of(outcome: Outcome) -> Iterator[str]:
    """Our gains against the published ones, where both are known and real, and what gains could be seen at all."""
    if not outcome.simulated:
        for column in outcome.table.columns:
            yield from _against_published(outcome, column)
    for part in outcome.parts:
        name = f"{part.plan.domain.name}: " if len(outcome.parts) > 1 else ""
        yield from (f"{name}{line}" for line in power(part.study.table))


def _verdicts(outcome: Outcome, part: Part) -> str:
    found: dict[str, list[str]] = {}
    for i in range(len(outcome.table.lines)):
        measured = part.measured(part.study.table, i)
        if measured is not None and measured.gain is not None:
            found.setdefault(measured.verdict, []).append(outcome.label_of(part, i))
    words = {"better": "Better than their baselines", "worse": "Worse than their baselines"}
    told = [f"{text}: {'; '.join(found[verdict])}." for verdict, text in words.items() if verdict in found]
    return " ".join(told) or "No line could be told from its baseline."


def _against_published(outcome: Outcome, column: Column) -> Iterator[str]:
    part = outcome.part_of(column)
    table = part.table_of(column.test)
    for i, line in enumerate(outcome.table.lines):
        published, measured = outcome.table.published_gain(line, column.name), part.measured(table, i)
        if published is not None and measured is not None and column.passing is None:
            yield from _beside(f"{column.name}, {outcome.label_of(part, i)}", published, measured)


def _beside(label: str, published: float, measured: Measured) -> Iterator[str]:
    if measured.gain is None:
        return
    found = measured.gain.difference
    within = 100 * found.low <= published <= 100 * found.high
    where = "within" if within else "below" if published < 100 * found.low else "above"
    yield f"{label}: published {published:+.1f}, which lies {where} our {signed_percent(found)}."
