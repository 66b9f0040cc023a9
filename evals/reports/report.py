"""What a comparison says, as one value that both report formats show: verdict first, then figures, then how."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evals.harness.rows import Learned
from evals.reports.grid import Grid
from evals.reports.steps import steps_of
from evals.scoring import verdicts
from evals.scoring.study import Study
from evals.scoring.table import Line, Table
from evals.scoring.verdicts import estimate_text, p_text, signed_text
from optimizers.registry import known_entry
from tfgrpo_dspy.kit import counted
from tfgrpo_dspy.observers.mlflow import source_tags, versions

SIMULATED = (
    "Simulated LM: a behavioural simulation answered here. These figures show that the machinery works, never how good "
    "a real model would be, and they rank no methods."
)

DECIDED = "What the simulated LM can learn from decides this."
"""Goes with every headline of a ranking in simulation; `tfgrpo compare --abilities` shows it."""


@dataclass(frozen=True, slots=True)
class LearnedBy:
    """What one optimizer put into the program."""

    title: str
    note: str
    learned: Learned
    is_open: bool
    """Whether a page shows it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A comparison for a person to read; plain text throughout, escaped by whoever shows it."""

    title: str
    simulated: str
    """What to say about a simulated LM; empty if it was a real one."""
    headline: str
    findings: tuple[str, ...]
    warnings: tuple[str, ...]
    scores: Grid
    costs: Grid
    failures: Grid | None
    steps: Grid | None
    """Reward and tool calls by step; None where no program called a tool."""
    learned: tuple[LearnedBy, ...]
    method: tuple[tuple[str, str], ...]
    statistics: tuple[str, ...]
    captions: Mapping[str, str]
    """Name of a figure to what it shows."""
    tables: tuple[Grid, ...] = ()
    """Shown before the scores: what one experiment adds of its own."""


def report_of(study: Study) -> Report:
    """The report of a comparison."""
    table = study.table
    return Report(
        title=f"{table.title}: {counted(len(table.lines), 'optimizer')} compared",
        simulated=SIMULATED if table.simulated else "",
        headline=verdicts.headline(table) + (f" {DECIDED}" if table.simulated and table.comparisons else ""),
        findings=tuple(verdicts.findings(table)),
        warnings=tuple(verdicts.warnings(table)),
        scores=_scores(table),
        costs=_costs(table),
        failures=_failures(table),
        steps=steps_of(table),
        learned=tuple(_learned(table)),
        method=tuple(_method(study)),
        statistics=tuple(verdicts.statistics(table)),
        captions=_captions(table),
    )


def _scores(table: Table) -> Grid:
    seeds = "single seeds" if len(table.seeds) > 1 else ""
    columns = (
        "optimizer",
        f"Mean@{table.k} [95%]",
        seeds,
        f"Pass@{table.k}",
        "gain, paired [95%, Holm]",
        "p (Holm)",
        "verdict",
    )
    tones = tuple({"better": "good", "worse": "bad"}.get(line.verdict, "") for line in table.ranked)
    note = (
        f"n = {table.questions} questions, {table.k} rollouts each, {counted(len(table.seeds), 'training seed')}. "
        + ("Single seeds: the lowest and the highest Mean of one seed's program. " if seeds else "")
        + "Gain: over the baseline, on the same questions under the same seeds. "
        f"p: corrected for {counted(table.comparisons, 'comparison')}."
    )
    kept = [at for at, column in enumerate(columns) if column]
    rows = tuple(tuple(row[at] for at in kept) for row in map(_score_row, table.ranked))
    return Grid("Scores", tuple(columns[at] for at in kept), rows, note, tones)


def _score_row(line: Line) -> tuple[str, ...]:
    if line.mean is None:
        return (line.label, "no score", "", "", "", "", "failed")
    seeds = f"{min(line.by_seed):.3f} to {max(line.by_seed):.3f}"
    gain = signed_text(line.gain.difference) if line.gain is not None else ""
    passed = f"{line.passed.value:.3f}" if line.passed is not None else "unknown"
    p_value = p_text(line.p_holm) if line.p_holm is not None else ""
    return (line.label, estimate_text(line.mean), seeds, passed, gain, p_value, line.verdict)


def _costs(table: Table) -> Grid:
    columns = (
        "optimizer",
        "calls to learn",
        "tokens to learn",
        "cost",
        "seconds",
        "calls per answer",
        "tokens per answer",
        "tool calls",
        "failed",
        "lost",
    )
    budget = f"The budget was {table.calls:,} LM calls. " if table.calls is not None else ""
    note = (
        f"{budget}To learn: mean of the seeds, cost in US dollars, seconds on this machine. Per answer: of the test "
        "rollouts. Failed: rollouts in which the program broke, scored 0 and not the same as a wrong answer. Lost: "
        "rollouts that did not happen, never scored; both out of all test rollouts."
    )
    return Grid("What it took", columns, tuple(_cost_row(line, table) for line in table.ranked if line.rows), note)


def _cost_row(line: Line, table: Table) -> tuple[str, ...]:
    seeds, answers = len(line.rows), max(line.rollouts, 1)
    learning, testing = line.training.usage, line.evaluation.usage
    lost = sum(line.lost.values())
    tokens = learning.prompt_tokens + learning.completion_tokens
    return (
        line.label,
        f"{learning.lm_calls / seeds:,.0f}",
        f"{tokens / seeds:,.0f}",
        _cost_text(learning.cost_usd, seeds, table),
        f"{line.training.seconds / seeds:,.1f}",
        f"{testing.lm_calls / answers:.1f}",
        f"{(testing.prompt_tokens + testing.completion_tokens) / answers:,.0f}",
        f"{line.tool_calls:.1f}",
        f"{line.failed} of {line.rollouts}",
        f"{lost} of {lost + line.rollouts}",
    )


def _cost_text(cost: float | None, seeds: int, table: Table) -> str:
    if table.simulated:
        return "simulated"
    return "unknown" if cost is None else f"${cost / seeds:,.4f}"


def _failures(table: Table) -> Grid | None:
    rows = tuple((f.optimizer, str(f.seed), f.error or "") for f in table.failures)
    note = "The next run of the same command tries these again."
    return Grid("What failed", ("optimizer", "seed", "error"), rows, note) if rows else None


def _learned(table: Table) -> Iterator[LearnedBy]:
    best = table.winner.line if table.winner is not None else None
    for line in table.ranked:
        row = line.best
        if row is None or row.learned.kind == "nothing":
            continue
        note = f"seed {row.seed}, the best of {len(line.rows)} by its test score" if len(line.rows) > 1 else ""
        yield LearnedBy(f"{line.label}: {_what(row.learned)}", note, row.learned, line is best)


def _what(learned: Learned) -> str:
    """How many of what it has: `26 experiences`, `new instructions and 4 demonstrations`."""
    names = [name for name, _ in learned.parts]
    demos = sum(name.startswith("demonstration") for name in names)
    told = sum(name.startswith("instructions") for name in names)
    entries = len(names) - demos - told
    parts = [
        *([counted(entries, "experience")] if entries else []),
        *(["new instructions"] if told else []),
        *([counted(demos, "demonstration")] if demos else []),
    ]
    return " and ".join(parts)


def _method(study: Study) -> Iterator[tuple[str, str]]:
    table, first = study.table, study.rows[0]
    identity = first.identity
    sizes = dict.fromkeys(str(row.identity["trainset"]) for row in study.rows)
    budget = "each optimizer's own settings" if table.calls is None else f"{table.calls:,} LM calls to learn"
    yield "task", f"{first.task.name}: {first.task.title}"
    yield (
        "model",
        ", ".join(dict.fromkeys(f"{r.task.model} ({', '.join(r.identity['lms']['policy'])})" for r in study.rows)),
    )
    yield "program", ", ".join(dict.fromkeys(row.task.program for row in study.rows))
    yield "metric", str(identity["metric"])
    yield "test set", f"{identity['testset']} (count and content hash), the same under every seed"
    yield "training sets", "; ".join(sizes)
    yield "rollouts", f"{table.k} per question, temperature {first.temperature}"
    yield "seeds", ", ".join(map(str, table.seeds))
    yield "budget", budget
    for line in table.lines:
        entry = known_entry(line.optimizer)
        if entry is not None:
            yield line.label, entry.description
    yield "versions", ", ".join(f"{name} {number}" for name, number in versions().items())
    tags = source_tags(Path(__file__).parent)
    commit = tags.get("mlflow.source.git.commit", "unknown")
    yield "commit", commit + (" with changes" if tags.get("git.dirty") == "true" else "")
    yield "comparison", f"{study.fingerprint}, {time.strftime('%Y-%m-%d %H:%M')}"


def _captions(table: Table) -> dict[str, str]:
    base = table.baseline.label if table.baseline is not None else "the baseline"
    return {
        "gains": f"Paired gain over {base} with its corrected interval; grey: not distinguishable.",
        "curves": "Mean reward of the training rollouts at each step.",
        "cost": "What a gain cost in LM calls to learn it.",
    }
