"""The commands that `tfgrpo` has from this folder. What they need is imported when they run: `--help` answers at once.

Exit codes are those of `tfgrpo` (see `tfgrpo_dspy.cli.boundary`), and 5: done, but a row failed.
"""

from __future__ import annotations

from typing import Annotated

import typer

from evals.audit.options import AuditOptions
from evals.compare.options import CompareOptions
from evals.paper.options import PaperOptions
from tfgrpo_dspy.cli import Commands, begin, serve, taking

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


@app.command(epilog="Example: tfgrpo compare --task demo --optimizers none,tfgrpo,bootstrap-fewshot --seeds 3")
@taking(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Compare optimizers on one task: same student, data, budget and seeds; writes report.html and report.md.

    Give the same command again after a kill: what is finished is not run again.
    """
    begin(f"Reading {options.task or options.program or 'the demo task'}")
    from evals.compare.command import run_compare

    raise typer.Exit(run_compare(options))


@app.command(epilog="Example: tfgrpo paper ablation --lm simulated --data embedded")
@taking(PaperOptions)
def paper(options: PaperOptions) -> None:
    """Run one of the paper's tables: our figures beside the published ones, and which model gave which.

    Rows are kept in the folder and shared by the tables: what is finished is not run again.
    """
    from evals.paper.command import run_paper

    raise typer.Exit(run_paper(options))


@app.command(
    name="audit-reward", epilog="Example: tfgrpo audit-reward answers.jsonl --metric my.py:judge --verdict is_right"
)
@taking(AuditOptions)
def audit_reward(options: AuditOptions) -> None:
    """Tell whether a reward can be learned from: does it follow a verifier, vary within questions, pay for length?

    ANSWERS has a row for each answer: question, expected answer, and the answer that was given.
    """
    from evals.audit.command import run_audit

    run_audit(options)


@app.command(name="list", epilog="Example: tfgrpo list")
def list_() -> None:
    """List what can be compared: tasks, the line-up of optimizers, the paper's tables."""
    from evals.lists import show_lists

    show_lists()


def main() -> None:
    """Run `python -m evals` on the arguments of this process."""
    serve(lambda: app, "python -m evals")
