"""The commands of `python -m evals`. What they need is imported when they run, so that `--help` answers at once.

Exit codes are those of `tfgrpo` (see `tfgrpo_dspy.cli.boundary`), and 5: done, but a row failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from evals.paper.options import PaperOptions
from tfgrpo_dspy.cli.boundary import Commands
from tfgrpo_dspy.cli.taking import option, taking

ROW_FAILED = 5

WHAT = "What is compared"
HOW = "How it is run"
RECORDS = "Records"

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def evals(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Experiments: which optimizer is better, on the same questions, with error bars."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `python -m evals compare`."""

    optimizers: Annotated[
        str, typer.Option("--optimizers", metavar="NAME,...", rich_help_panel=WHAT, help="Of the line-up; see `list`.")
    ] = "none,tfgrpo,bootstrap-fewshot"
    task: Annotated[
        str, typer.Option("--task", metavar="NAME", rich_help_panel=WHAT, help="The experiment; see `list`.")
    ] = "demo"
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", rich_help_panel=WHAT, help="Training seeds, from 0; 3 or more tell.")
    ] = 3
    calls: Annotated[
        int | None,
        option("--calls", metavar="N", panel=WHAT, help="LM calls to learn, the same for all. Default: the task's."),
    ] = None
    k: Annotated[
        int | None, option("-k", metavar="K", panel=WHAT, help="Rollouts per question. Default: the task's.")
    ] = None
    train: Annotated[int | None, option("--train", metavar="N", panel=WHAT, help="Only so many training examples.")] = (
        None
    )
    test: Annotated[int | None, option("--test", metavar="N", panel=WHAT, help="Only so many test questions.")] = None
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


@app.command(epilog="Example: python -m evals compare --task demo --optimizers none,tfgrpo,bootstrap-fewshot --seeds 3")
@taking(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Compare optimizers on one task: same student, data, budget and seeds; writes report.html and report.md.

    Give the same command again after a kill: what is finished is not run again.
    """
    from evals.compare_command import run_compare

    raise typer.Exit(run_compare(options))


@app.command(epilog="Example: python -m evals paper ablation --lm simulated --data embedded")
@taking(PaperOptions)
def paper(options: PaperOptions) -> None:
    """Run one of the paper's tables: our figures beside the published ones, and which model gave which.

    Rows are kept in the folder and shared by the tables: what is finished is not run again.
    """
    from evals.paper.command import run_paper

    raise typer.Exit(run_paper(options))


@app.command(name="list", epilog="Example: python -m evals list")
def list_() -> None:
    """List the tasks, the line-up of optimizers and the paper's tables."""
    from evals.compare_command import show_lists

    show_lists()


def main() -> None:
    """Run `python -m evals` on the arguments of this process."""
    app(prog_name="python -m evals")
