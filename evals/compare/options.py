"""The options of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli import option

ROW_FAILED = 5

WHAT = "What is compared"

HOW = "How it is run"

RECORDS = "Records"


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `tfgrpo compare`."""

    program: Annotated[
        str | None,
        typer.Argument(metavar="[PROGRAM]", help="A program of yours, as for compile: file.py:attribute."),
    ] = None
    trainset: Annotated[
        str | None, typer.Argument(metavar="[TRAINSET]", help="Examples to learn from, as for compile.")
    ] = None
    test: Annotated[
        str | None, option("--test", metavar="FILE", panel=WHAT, help="Held-out examples, for a program of yours.")
    ] = None
    valset: Annotated[
        str | None, option("--valset", metavar="FILE", panel=WHAT, help="For optimizers that want one. Default: none.")
    ] = None
    metric: Annotated[str, typer.Option("--metric", metavar="METRIC", rich_help_panel=WHAT, help="As for compile.")] = (
        "exact"
    )
    lm: Annotated[
        str | None, option("--lm", metavar="MODEL", panel=WHAT, help="Answers, and learns, for a program of yours.")
    ] = None
    api_base: Annotated[str | None, option("--api-base", metavar="URL", panel=HOW, help="Endpoint of --lm.")] = None
    lm_option: Annotated[
        list[str] | None, option("--lm-option", metavar="NAME=VALUE", panel=HOW, help="As for compile, repeatable.")
    ] = None
    inputs: Annotated[
        list[str] | None, option("--inputs", metavar="FIELD[=COLUMN]", panel=WHAT, help="As for compile, repeatable.")
    ] = None
    answer: Annotated[str | None, option("--answer", metavar="FIELD[=COLUMN]", panel=WHAT, help="As for compile.")] = (
        None
    )
    split: Annotated[str | None, option("--split", metavar="NAME", panel=WHAT, help="Of TRAINSET.")] = None
    limit: Annotated[int | None, option("--limit", metavar="N", panel=WHAT, help="Read the first N rows of each.")] = (
        None
    )
    optimizers: Annotated[
        str, option("--optimizers", metavar="NAME,...", panel=WHAT, help="Of the line-up, or `all`; see `list`.")
    ] = "none,tfgrpo,bootstrap-fewshot"
    task: Annotated[
        str | None,
        option(
            "--task", metavar="NAME|FILE.py:TASK", panel=WHAT, help="In place of a program; see `list`. Default: demo."
        ),
    ] = None
    abilities: Annotated[
        bool,
        typer.Option(
            "--abilities", rich_help_panel=WHAT, help="Once for each thing that the embedded LM can learn from."
        ),
    ] = False
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", rich_help_panel=WHAT, help="Training seeds, from 0; 3 or more tell.")
    ] = 3
    budget: Annotated[
        int | None,
        option("--budget", metavar="N", panel=WHAT, help="LM calls to learn, the same for all. Default: the task's."),
    ] = None
    k: Annotated[
        int | None, option("-k", metavar="K", panel=WHAT, help="Rollouts per question. Default: the task's.")
    ] = None
    train_limit: Annotated[
        int | None, option("--train-limit", metavar="N", panel=WHAT, help="Only so many training examples.")
    ] = None
    test_limit: Annotated[
        int | None, option("--test-limit", metavar="N", panel=WHAT, help="Only so many test questions.")
    ] = None
    baseline: Annotated[
        str | None,
        option("--baseline", metavar="NAME", panel=WHAT, help="What gains are over. Default: none, else the first."),
    ] = None
    out: Annotated[
        Path | None,
        option("--out", metavar="DIR", panel=HOW, help="Folder for reports and rows. Default: out/evals/TASK."),
    ] = None
    threads: Annotated[int, typer.Option("--threads", metavar="N", rich_help_panel=HOW, help="LM calls at once.")] = 8
    max_errors: Annotated[
        int | None,
        option("--max-errors", metavar="N", panel=HOW, help="Lost test rollouts tolerated. Default: DSPy's, 10."),
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", rich_help_panel=HOW, help="Run rows again that are finished in the folder.")
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", rich_help_panel=HOW, help="A small pilot; then calls and cost by optimizer; stop."),
    ] = False
    json_: Annotated[
        bool, typer.Option("--json", rich_help_panel=RECORDS, help="Print the result as JSON, and nothing else.")
    ] = False
    tracking: Annotated[
        bool | None,
        option("--tracking/--no-tracking", panel=RECORDS, help="Record to MLflow. Default: if it is installed."),
    ] = None
    experiment: Annotated[
        str | None,
        option("--experiment", metavar="NAME", panel=RECORDS, help="MLflow experiment. Default: evals-TASK."),
    ] = None
    tracking_uri: Annotated[
        str | None,
        option(
            "--tracking-uri",
            metavar="URI",
            panel=RECORDS,
            help="MLflow store or server. Default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db here.",
        ),
    ] = None
