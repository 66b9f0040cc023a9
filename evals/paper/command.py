"""`tfgrpo paper`: what it runs, and what a person sees of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from evals.compare.display import Display, aside
from evals.compare.options import ROW_FAILED
from evals.harness.rows import Row, RowResult
from evals.harness.running import Harness, Listener
from evals.paper.data import EMBEDDED, Sets, nominal_sets, sets_of
from evals.paper.forecast_shown import show_forecast
from evals.paper.grids import OUR_MODEL, VERDICT, grids_of
from evals.paper.models import lm_named, models_of
from evals.paper.options import PaperOptions
from evals.paper.outcome import Outcome, run_table
from evals.paper.report import report_of_table, write_report
from evals.paper.rows import Model, PartPlan, Setup, not_run, plan_of
from evals.paper.tables import RL_TRAINED, Domain, PaperTable, find_table
from evals.reports.grid import Grid
from evals.reports.report import Report
from evals.reports.written import HTML, MARKDOWN
from tfgrpo_dspy import Observer, SettingsError
from tfgrpo_dspy.cli import SIMULATED, UNRECORDED, say, section, show_path, show_warnings_of_the_library, table_of, warn
from tfgrpo_dspy.kit import holding

if TYPE_CHECKING:
    import dspy
    from rich.table import Table as RichTable

    from evals.compare.tracking import Tracking

_UNNAMED = "a model to be named"
_SIMULATED_LIMIT = 20
"""Problems of each set under a simulated LM, so that a table ends within minutes."""


def run_paper(options: PaperOptions) -> int:
    """Carry out the command; returns its exit code."""
    show_warnings_of_the_library()
    table = find_table(options.name)
    setup = _setup(table, options)
    sets = {domain.name: _sets(table, domain, setup, options) for domain in table.domains}
    plans = plan_of(table, setup, sets)
    remarks = [
        *_cuts(options, setup, plans),
        *(line for s in sets.values() for line in s.warnings),
        *not_run(table, setup),
    ]
    if options.dry_run:
        show_forecast(table, plans, options.price, remarks)
        return 0
    if any(model.simulated for model in setup.models.values()):
        say(SIMULATED, style="yellow")
    return _run(table, plans, options, remarks)


def _setup(table: PaperTable, options: PaperOptions) -> Setup:
    for name, value in (("-k", options.k), ("--seeds", options.seeds)):
        if value is not None and value < 1:
            raise SettingsError(f"{name} must be at least 1, got {value}")
    if options.limit is not None and options.limit < 2:  # noqa: PLR2004 - an error bar needs two questions
        raise SettingsError(f"--limit must be at least 2, got {options.limit}")
    more = options.lm_option or ()
    named = options.model or ()
    models = models_of(table, lm=options.lm, named=named, api_base=options.api_base, more=more)
    if not models and options.dry_run:
        models = {line.model: Model(_UNNAMED) for line in table.lines if line.model not in RL_TRAINED}
    if not models:
        raise SettingsError(
            "name a language model: --lm provider/model, or --lm simulated to see the table without a key; "
            "--dry-run shows what would be run"
        )
    simulated = any(model.simulated for model in models.values())
    return Setup(
        models=models,
        source=options.data,
        judge=None if options.judge is None else lm_named(options.judge, more),
        search=options.search,
        k=options.k,
        limit=options.limit or (_SIMULATED_LIMIT if simulated else None),
        seeds=options.seeds,
        out=options.out,
    )


def _sets(table: PaperTable, domain: Domain, setup: Setup, options: PaperOptions) -> Sets:
    if options.dry_run and setup.source is None:  # a forecast needs how many there are, and no download
        return nominal_sets(domain, limit=setup.limit, questions=table.questions)
    direct = any(line.program == "direct" for line in table.lines)
    return sets_of(domain, setup.source, limit=setup.limit, questions=table.questions, has_direct=direct)


def _cuts(options: PaperOptions, setup: Setup, plans: Sequence[PartPlan]) -> Iterator[str]:
    """How far what is run is from the paper's size, and what a simulated LM can be asked."""
    for plan in plans:
        k = next((row.task.k for row in plan.rows), plan.domain.k)
        if setup.limit is not None or k != plan.domain.k:
            why = "" if options.limit is not None or options.k is not None else " (a simulated LM, no --limit)"
            train = min(plan.sets.train, len(plan.sets.pool))
            questions = sum(len(test.examples) for test in plan.sets.tests)
            yield (
                f"Cut down{why}, {plan.domain.name}: {train} training examples, {questions} questions, {k} rollouts "
                f"each (the paper: {plan.domain.train}, all questions, {plan.domain.k}). Epochs and groups are not cut."
            )
    if any(model.simulated for model in setup.models.values()) and setup.source != EMBEDDED:
        yield (
            "A simulated LM cannot solve real benchmark problems: scores near zero are what it can do; with "
            f"--data {EMBEDDED} it gets problems that it can learn on."
        )


def _run(table: PaperTable, plans: Sequence[PartPlan], options: PaperOptions, remarks: Sequence[str]) -> int:
    folder = options.out / table.name
    recorded = [_tracking(options, table, plan, len(plans) > 1) for plan in plans]
    rows = [row for plan in plans for row in plan.rows]
    with holding(options.out), Display(rows) as display, aside(folder):
        harness = Harness(
            out=options.out,
            num_threads=options.threads,
            max_errors=options.max_errors,
            listeners=[display, *(_Only(t, p.rows) for t, p in zip(recorded, plans, strict=True) if t is not None)],
            fresh=options.fresh,
        )
        outcome = run_table(table, plans, harness)
        report = report_of_table(outcome, remarks)
        figures = write_report(report, outcome, folder)
        for tracking, part in zip(recorded, outcome.parts, strict=True):
            if tracking is not None:
                tracking.finish(part.study, folder, figures)
    _show(report, outcome)
    say("")
    for name in (HTML, MARKDOWN):
        say(show_path(folder / name))
    unrecorded = [line for tracking in recorded if tracking is not None for line in tracking.unrecorded]
    for line in unrecorded:
        warn(f"not recorded: {line}")
    if any(part.study.table.failures for part in outcome.parts):
        return ROW_FAILED
    return UNRECORDED if unrecorded else 0


def _tracking(options: PaperOptions, table: PaperTable, plan: PartPlan, several: bool) -> Tracking | None:
    """One comparison in MLflow for each domain, as its rows answer the same questions."""
    if options.tracking is False or (options.tracking is None and find_spec("mlflow") is None):
        return None
    from evals.compare.tracking import Tracking

    experiment = f"paper-{table.name}" + (f"-{plan.domain.name}" if several else "")
    return Tracking(experiment, plan.rows, tracking_uri=options.tracking_uri, fresh=options.fresh)


class _Only(Listener):
    """A listener that is told of some rows alone.

    Args:
        listener: Who is told.
        rows: Of what.
    """

    def __init__(self, listener: Listener, rows: Sequence[Row]) -> None:
        self._listener = listener
        self._rows = {row.fingerprint for row in rows}

    def begins(self, row: Row) -> Sequence[Observer]:
        """Pass it on."""
        return self._listener.begins(row) if row.fingerprint in self._rows else ()

    def ends(self, row: Row, result: RowResult, program: dspy.Module | None) -> None:
        """Pass it on."""
        if row.fingerprint in self._rows:
            self._listener.ends(row, result, program)


def _show(report: Report, outcome: Outcome) -> None:
    """What fits a terminal; the report has the rest."""
    label = " (simulated)" if outcome.simulated else ""
    section(f"{outcome.table.title}{label}", *(f"- {note}" for note in outcome.table.notes))
    grids = report.tables[: len(grids_of(outcome))]
    for grid in grids:
        section(grid.title, _narrow(grid), *([grid.note] if grid is grids[-1] else []))
    if report.steps is not None and outcome.table.shows_steps:
        section(f"{report.steps.title}{label}", table_of(report.steps.columns, report.steps.rows, numeric=range(1, 6)))
    if report.failures is not None:
        section(report.failures.title, table_of(report.failures.columns, report.failures.rows))
    section(f"{report.headline}{label}", *(f"- {line}" for line in report.findings))
    for line in report.warnings:
        warn(line)


def _narrow(grid: Grid) -> RichTable:
    """The table without its verdicts, and with our model below a line's name."""
    kept = [at for at, name in enumerate(grid.columns) if name not in {VERDICT, OUR_MODEL}]
    rows = [[row[at] for at in kept] for row in grid.rows]
    if OUR_MODEL in grid.columns:
        for row, whole in zip(rows, grid.rows, strict=True):
            model = whole[grid.columns.index(OUR_MODEL)]
            row[0] += f"\n  by {model}" if model else ""
    return table_of([grid.columns[at] for at in kept], rows, numeric=range(1, 4))
