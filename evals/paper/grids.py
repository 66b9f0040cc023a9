"""Published figures and ours beside each other, as tables of texts; scores in percent, as the paper gives them."""

from __future__ import annotations

from collections.abc import Iterator

from evals.harness.rows import Row, Took
from evals.paper.outcome import Outcome, Part, passing_of, score_of
from evals.paper.tables import MODELS, PAPER, RL_TRAINED, SOURCE, Column, Line
from evals.reports.grid import Grid
from evals.scoring.table import Line as Measured
from tfgrpo_dspy import Difference, Estimate
from tfgrpo_dspy.kit import counted

_TONES = {"better": "good", "worse": "bad"}
NOT_RUN, FAILED = "not run", "failed"
VERDICT, OUR_MODEL = "verdict", "our model"
"""Columns that a narrow terminal shows otherwise."""
_PER_PROBLEM = {"tokens in": 60_000, "tokens out": 8_000, "cost": 0.02}
"""Published by arXiv 2510.08191 for answering with a library."""
_ELSEWHERE = (
    ("RL training of a 32B model", "about $10,000, 20,000 GPU-hours"),
    ("a 4-GPU server kept busy, per problem", "about $0.005"),
)
"""Published alternatives, for which we have no figure of our own."""


def grids_of(outcome: Outcome) -> tuple[Grid, ...]:
    """The tables of a paper's table: one per column, or what its last line took."""
    if outcome.table.kind == "cost":
        return (cost_grid(outcome),)
    return tuple(score_grid(outcome, column) for column in outcome.table.columns)


def score_grid(outcome: Outcome, column: Column) -> Grid:
    """One column of the paper's table."""
    part, paper = outcome.part_of(column), outcome.table
    table = part.table_of(column.test)
    found = [part.measured(table, i) for i in range(len(paper.lines))]
    models = {line.triple[0] for line in found if line is not None}
    rows = tuple(
        (
            label,
            _published(outcome, line, column),
            *_ours(measured, column, table.k),
            measured.triple[0] if measured is not None else "",
        )
        for label, line, measured in zip(paper.labels, paper.lines, found, strict=True)
    )
    columns = ("", "published", "ours [95%]", "our gain, paired", VERDICT, OUR_MODEL)
    tones = tuple(_TONES.get(measured.verdict, "") if measured is not None else "" for measured in found)
    return Grid(_title(outcome, column, table.k), columns, rows, _note(outcome, column, models, table.k), tones)


def cost_grid(outcome: Outcome) -> Grid:
    """What learning and answering took on the last line, as it was and scaled to the paper's number of rollouts."""
    part = outcome.parts[0]
    measured = part.measured(part.study.table, len(outcome.table.lines) - 1)
    rows = tuple(_cost_rows(measured, part)) if measured is not None and measured.rows else ()
    label = " (simulated)" if outcome.simulated else ""
    note = (
        f"Published: {SOURCE}, {PAPER.rollouts:,} rollouts to learn with. Ours scaled: ours per rollout, times theirs. "
        f"Ours: mean of {counted(len(part.study.table.seeds), 'training')} with {_model(measured)}; cost in US dollars."
    )
    return Grid(f"What it takes{label}", ("", "published", "ours", "ours scaled"), rows, note)


def percent(estimate: Estimate) -> str:
    """`82.7 [74.0, 89.1]`."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def signed_percent(found: Difference) -> str:
    """`+2.7 [-1.0, +6.4]`."""
    value, low, high = (round(100 * number, 1) + 0.0 for number in (found.value, found.low, found.high))  # no -0.0
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _title(outcome: Outcome, column: Column, k: int) -> str:
    part = outcome.part_of(column)
    shown = next(test.shown for test in part.plan.sets.tests if test.name == column.test)
    ours = f"Pass@{passing_of(column, k)}" if column.passing else f"Mean@{k}"
    label = ", simulated" if outcome.simulated else ""
    return f"{column.name}: published, and ours on {shown} ({ours}{label})"


def _note(outcome: Outcome, column: Column, models: set[str], k: int) -> str:
    part = outcome.part_of(column)
    n = len(next(test.examples for test in part.plan.sets.tests if test.name == column.test))
    named = dict.fromkeys(MODELS[line.model] for line in outcome.table.lines if line.model not in RL_TRAINED)
    of = next(iter(named)) if len(named) == 1 else "the models named"
    answered = f"Ours: by {', '.join(sorted(models))}, " if models else "Ours: "
    return (
        f"In percent. Published: {SOURCE}, of {of}. {answered}{counted(n, 'question')}, {k} rollouts each, "
        f"{counted(len(part.study.table.seeds), 'training seed')}; interval over questions. Gain: over the baseline of "
        "the same model and program, on the same questions; the verdict is corrected for the comparisons of its column."
    )


def _published(outcome: Outcome, line: Line, column: Column) -> str:
    value = line.published.get(column.name)
    if value is None:
        return ""
    gain = outcome.table.published_gain(line, column.name)
    return f"{value:.1f}" if gain is None else f"{value:.1f} ({gain:+.1f})"


def _ours(measured: Measured | None, column: Column, k: int) -> tuple[str, str, str]:
    score = score_of(measured, column, k)
    if measured is None or score is None:
        return (NOT_RUN if measured is None else FAILED if measured.mean is None else "unknown"), "", ""
    if column.passing is not None or measured.gain is None:
        return percent(score), "", ""
    return percent(score), signed_percent(measured.gain.difference), measured.verdict


def _cost_rows(measured: Measured, part: Part) -> Iterator[tuple[str, str, str, str]]:
    trained, rows = measured.training, len(measured.rows)
    rollouts = _training_rollouts(part.plan.of_line[max(part.plan.of_line)][0])
    scale = PAPER.rollouts / rollouts
    usage = trained.usage
    yield "to learn: rollouts", f"{PAPER.rollouts:,}", f"{rollouts:,}", f"{PAPER.rollouts:,}"
    for name, published, ours in (
        ("to learn: tokens in", PAPER.prompt_tokens, usage.prompt_tokens / rows),
        ("to learn: tokens out", PAPER.completion_tokens, usage.completion_tokens / rows),
    ):
        yield name, _tokens(published), _tokens(ours), _tokens(ours * scale)
    yield "to learn: cost", f"about ${PAPER.cost_usd:.0f}", *_costs(usage.cost_usd, rows, scale, part)
    hours, seconds = PAPER.seconds / 3600, trained.seconds / rows
    yield "to learn: time", f"{hours:.0f} h", _time(seconds), _time(seconds * scale)
    yield from _answer_rows(measured.evaluation, measured.rollouts, part)
    for name, told in _ELSEWHERE:
        yield name, told, "", ""


def _answer_rows(took: Took, rollouts: int, part: Part) -> Iterator[tuple[str, str, str, str]]:
    n, usage = max(rollouts, 1), took.usage
    for name, ours in (("tokens in", usage.prompt_tokens), ("tokens out", usage.completion_tokens)):
        yield f"per answer: {name}", _tokens(_PER_PROBLEM[name]), _tokens(ours / n), ""
    yield "per answer: cost", f"about ${_PER_PROBLEM['cost']:.2f}", _costs(usage.cost_usd, n, 1.0, part)[0], ""


def _training_rollouts(row: Row) -> int:
    """With the paper's settings, which that line has."""
    return len(row.data.train) * 3 * 5


def _costs(cost: float | None, parts: int, scale: float, part: Part) -> tuple[str, str]:
    if part.study.table.simulated:
        return "simulated", "simulated"
    if cost is None:
        return "unknown", "unknown"
    return f"${cost / parts:,.4f}", f"${scale * cost / parts:,.2f}"


def _tokens(number: float) -> str:
    if number >= 1e6:  # noqa: PLR2004 - millions
        return f"{number / 1e6:.1f}M"
    return f"{number / 1e3:.1f}K" if number >= 1e3 else f"{number:.0f}"  # noqa: PLR2004 - thousands


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"  # noqa: PLR2004 - an hour


def _model(measured: Measured | None) -> str:
    return measured.triple[0] if measured is not None else "no model"
