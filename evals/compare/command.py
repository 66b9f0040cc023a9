"""`tfgrpo compare`: what it runs, and what a person sees of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TQDM_DISABLE", "1")  # DSPy's own bars would tear ours; read when tqdm is imported


from evals.compare.abilities import ABILITIES, PAGE, grid_of, headline_of, page_of, under
from evals.compare.display import Display, aside
from evals.compare.forecast import Forecast, RowsForecast, forecast_of
from evals.compare.options import ROW_FAILED, CompareOptions
from evals.compare.own_task import task_at, task_of_files
from evals.harness.rows import Row
from evals.harness.running import Harness
from evals.harness.tasks import Task, find_task
from evals.reports.report import report_of
from evals.reports.written import HTML, MARKDOWN, as_json, write_reports
from evals.scoring.study import Study, rows_of, run_study
from evals.scoring.table import Table
from evals.scoring.verdicts import p_text, signed_text
from optimizers.registry import LINE_UP
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.cli import SIMULATED, UNRECORDED, say, section, show_path, show_warnings_of_the_library, table_of, warn
from tfgrpo_dspy.kit import counted, holding, write_atomically

if TYPE_CHECKING:
    from evals.compare.tracking import Tracking


def run_compare(options: CompareOptions) -> int:
    """Carry out the command; returns its exit code."""
    show_warnings_of_the_library()
    task = _task(options)
    if task.simulated and not options.json_:
        say(SIMULATED, style="yellow")
    folder = options.out or Path("out/evals") / task.name
    if options.abilities:
        return _under_each_ability(options, task, folder)
    rows = _rows(options, task)
    if options.dry_run:
        _show_forecast(forecast_of(rows, options.threads), rows, as_json=options.json_)
        return 0
    study, tracking = _study(options, task, rows, folder)
    if options.json_:
        say(json.dumps({**as_json(study.table), "report": str(folder / HTML)}, ensure_ascii=False))
    else:
        _show(study, folder, tracking)
    return _exit_code(study, tracking)


def _under_each_ability(options: CompareOptions, task: Task, folder: Path) -> int:
    """A comparison for each thing that the embedded LM can learn from, and one page about all of them."""
    tasks = {ability: under(task, ability) for ability in ABILITIES}
    if options.dry_run:
        raise SettingsError("--dry-run forecasts one comparison; leave out --abilities, which runs three of its size")
    codes, tables = [], {}
    for ability, one in tasks.items():
        study, tracking = _study(options, one, _rows(options, one), folder / ability)
        codes.append(_exit_code(study, tracking))
        tables[ability] = study.table
    page = folder / PAGE
    write_atomically(page_of(f"{task.title}, by what the LM can learn from", tables), page)
    if options.json_:
        say(json.dumps({ability: as_json(table) for ability, table in tables.items()}, ensure_ascii=False))
        return max(codes)
    grid = grid_of(tables)
    section(f"{headline_of(tables)} (simulated)")
    section(grid.title, table_of(grid.columns, grid.rows, numeric=range(1, 4)), grid.note)
    say("")
    for path in (page, *(folder / ability / HTML for ability in tables)):
        say(show_path(path))
    return max(codes)


def _rows(options: CompareOptions, task: Task) -> list[Row]:
    names = [name.strip() for name in options.optimizers.split(",") if name.strip()]
    names = list(LINE_UP) if names == ["all"] else names
    if options.baseline is not None and options.baseline not in names:
        raise SettingsError(f"--baseline {options.baseline} is not among the optimizers {', '.join(names)}; add it")
    limits = {"train": options.train_limit, "test": options.test_limit}
    return rows_of(task, names, range(options.seeds), calls=options.budget, **limits)


def _study(options: CompareOptions, task: Task, rows: Sequence[Row], folder: Path) -> tuple[Study, Tracking | None]:
    """Run what is not finished in the folder, and write and record the report."""
    tracking = _tracking(options, task, rows)
    with holding(folder), Display(rows) as display, aside(folder):
        listeners = [display, *([tracking] if tracking is not None else [])]
        harness = Harness(
            out=folder,
            num_threads=options.threads,
            max_errors=options.max_errors,
            listeners=listeners,
            fresh=options.fresh,
        )
        study = run_study(rows, harness, options.baseline)
        figures = write_reports(study, folder)
        if tracking is not None:
            tracking.finish(study, folder, figures)
    return study, tracking


def _show_forecast(forecast: Forecast, rows: Sequence[Row], *, as_json: bool) -> None:
    """What each optimizer is expected to take, and all together."""
    if as_json:
        say(json.dumps([asdict(each) for each in forecast.rows]))
        return
    pilot, seeds, simulated = forecast.pilot, len({row.seed for row in rows}), rows[0].task.simulated
    shown = [
        (
            each.optimizer,
            _learning(each),
            f"{each.test_calls:,.0f}{' or more' if each.at_inference else ''}",
            "unknown" if each.tokens is None else f"{each.tokens:,.0f}",
            "simulated" if simulated else "unknown" if each.cost_usd is None else f"${each.cost_usd:.2f}",
        )
        for each in forecast.rows
    ]
    columns = ("optimizer", "calls to learn", "calls to test", "tokens", "cost")
    section(f"Forecast for {counted(seeds, 'seed')}", table_of(columns, shown, numeric=range(1, 5)))
    took = f"{counted(pilot.usage.lm_calls, 'call')} on {counted(len(pilot.groups), 'training example')}"
    say(f"from {took}, which scored {pilot.mean.value:.3f}; the best optimizer is scored once more", style="dim")


def _learning(forecast: RowsForecast) -> str:
    if forecast.learning_calls is None:
        return "its own settings decide"
    if not forecast.learning_calls:
        return "none"
    return f"{'at most' if forecast.bounded else 'about'} {forecast.learning_calls:,.0f}"


def _task(options: CompareOptions) -> Task:
    for name, value in (("--seeds", options.seeds), ("-k", options.k), ("--budget", options.budget)):
        if value is not None and value < 1:
            raise SettingsError(f"{name} must be at least 1, got {value}")
    for name, value in (("--train-limit", options.train_limit), ("--test-limit", options.test_limit)):
        if value is not None and value < 2:  # noqa: PLR2004 - an error bar needs two questions
            raise SettingsError(f"{name} must be at least 2, got {value}")
    task = _chosen(options)
    return task if options.k is None else replace(task, k=options.k)


def _chosen(options: CompareOptions) -> Task:
    """A task by its name or its place, or that of a program and files."""
    if options.program is not None:
        if options.task is not None:
            raise SettingsError(f"compare a program of yours or --task {options.task}, one of the two")
        return task_of_files(options)
    for name, given in (("--test", options.test), ("--valset", options.valset), ("--lm", options.lm)):
        if given is not None:
            raise SettingsError(f"{name} goes with a program of yours: tfgrpo compare PROGRAM TRAINSET --test FILE ...")
    name = options.task or "demo"
    return task_at(name) if ":" in name else find_task(name)


def _tracking(options: CompareOptions, task: Task, rows: Sequence[Row]) -> Tracking | None:
    if options.tracking is False or (options.tracking is None and find_spec("mlflow") is None):
        return None
    from evals.compare.tracking import Tracking

    experiment = options.experiment or f"evals-{task.name}"
    return Tracking(experiment, rows, tracking_uri=options.tracking_uri, fresh=options.fresh)


def _show(study: Study, folder: Path, tracking: Tracking | None) -> None:
    report = report_of(study)
    label = " (simulated)" if report.simulated else ""
    section(f"{report.headline}{label}", *(f"- {line}" for line in report.findings))
    section(f"Scores{label}", _table(study.table))
    if report.steps is not None:
        section(f"{report.steps.title}{label}", table_of(report.steps.columns, report.steps.rows, numeric=range(1, 6)))
    if report.failures is not None:
        section(report.failures.title, table_of(report.failures.columns, report.failures.rows))
    for line in report.warnings:
        warn(line)
    say("")
    for name in (HTML, MARKDOWN):
        say(f"{show_path(folder / name)}")
    if tracking is not None:
        say(f"recorded in MLflow; to look at it: tfgrpo ui --experiment {tracking.experiment}")
        say(f"its rows by score, below the address that this shows: {tracking.page}" if tracking.page else "")
        for line in tracking.unrecorded:
            warn(f"not recorded: {line}")


def _table(table: Table) -> object:
    """What fits a terminal; the report has the rest."""
    columns = ("optimizer", f"Mean@{table.k}", "gain [95%, Holm]", "p (Holm)", "calls", "verdict")
    rows = [
        (
            line.label,
            "" if line.mean is None else f"{line.mean.value:.3f}",
            "" if line.gain is None else signed_text(line.gain.difference),
            "" if line.p_holm is None else p_text(line.p_holm),
            f"{line.training.usage.lm_calls / max(len(line.rows), 1):,.0f}",
            line.verdict,
        )
        for line in table.ranked
    ]
    return table_of(columns, rows, numeric=range(1, 5))


def _exit_code(study: Study, tracking: Tracking | None) -> int:
    if study.table.failures:
        return ROW_FAILED
    return UNRECORDED if tracking is not None and tracking.unrecorded else 0
