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


from evals.compare.display import Display, aside
from evals.compare.forecast import Forecast, forecast_of
from evals.compare.options import ROW_FAILED, CompareOptions
from evals.compare.own_task import task_at, task_of_files
from evals.harness.rows import Row
from evals.harness.running import Bench
from evals.harness.tasks import Task, find_task
from evals.reports.report import report_of
from evals.reports.written import HTML, MARKDOWN, as_json, write_reports
from evals.scoring.study import Study, rows_of, run_study
from evals.scoring.table import Table
from evals.scoring.verdicts import p_text, signed_text
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.cli import SIMULATED, UNRECORDED, say, section, show_path, show_warnings_of_the_library, table_of, warn
from tfgrpo_dspy.kit import counted, holding

if TYPE_CHECKING:
    from evals.compare.tracking import Tracking


def run_compare(options: CompareOptions) -> int:
    """Carry out the command; returns its exit code."""
    show_warnings_of_the_library()
    task = _task(options)
    names = [name.strip() for name in options.optimizers.split(",") if name.strip()]
    limits = {"train": options.train_limit, "test": options.test_limit}
    rows = rows_of(task, names, range(options.seeds), calls=options.budget, **limits)
    if options.baseline is not None and options.baseline not in names:
        raise SettingsError(f"--baseline {options.baseline} is not among the optimizers {', '.join(names)}; add it")
    if task.simulated and not options.json_:
        say(SIMULATED, style="yellow")
    if options.dry_run:
        _show_forecast(forecast_of(rows, options.threads), rows, as_json=options.json_)
        return 0
    folder = options.out or Path("out/evals") / task.name
    tracking = _tracking(options, task, rows)
    with holding(folder), Display(rows) as display, aside(folder):
        listeners = [display, *([tracking] if tracking is not None else [])]
        bench = Bench(
            out=folder,
            num_threads=options.threads,
            max_errors=options.max_errors,
            listeners=listeners,
            fresh=options.fresh,
        )
        study = run_study(rows, bench, options.baseline)
        figures = write_reports(study, folder)
        if tracking is not None:
            tracking.finish(study, folder, figures)
    if options.json_:
        say(json.dumps({**as_json(study.table), "report": str(folder / HTML)}, ensure_ascii=False))
    else:
        _show(study, folder, tracking)
    return _exit_code(study, tracking)


def _show_forecast(forecast: Forecast, rows: Sequence[Row], *, as_json: bool) -> None:
    """What each optimizer is expected to take, and all together."""
    if as_json:
        say(json.dumps([asdict(each) for each in forecast.rows]))
        return
    pilot, seeds = forecast.pilot, len({row.seed for row in rows})
    shown = [
        (
            each.optimizer,
            "its own settings decide" if each.learning_calls is None else f"at most {each.learning_calls:,}",
            f"{each.test_calls:,.0f}{' or more' if each.at_inference else ''}",
            "unknown" if each.tokens is None else f"{each.tokens:,.0f}",
            "unknown" if each.cost_usd is None else f"${each.cost_usd:.2f}",
        )
        for each in forecast.rows
    ]
    columns = ("optimizer", "calls to learn", "calls to test", "tokens", "cost")
    section(f"Forecast for {counted(seeds, 'seed')}", table_of(columns, shown, numeric=range(1, 5)))
    took = f"{counted(pilot.usage.lm_calls, 'call')} on {counted(len(pilot.groups), 'training example')}"
    say(f"from {took}, which scored {pilot.mean.value:.3f}; the best optimizer is scored once more", style="dim")


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
        say(f"recorded in the MLflow experiment {tracking.experiment}; to look at it: tfgrpo ui")
        say(f"its rows by score: {tracking.page}" if tracking.page else "")
        for line in tracking.unrecorded:
            warn(f"not recorded: {line}")


def _table(table: Table) -> object:
    """What fits a terminal; the report has the rest."""
    columns = ("optimizer", f"Mean@{table.k}", "gain [95%]", "p (Holm)", "calls", "verdict")
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
