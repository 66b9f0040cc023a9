"""The options of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from evals.compare.options import HOW, WHAT
from tfgrpo_dspy.cli import option


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Options of `tfgrpo audit-reward`."""

    what: Annotated[
        str,
        typer.Argument(
            metavar="ANSWERS|PROGRAM",
            help="A file with answers, or a program that gives them to the questions of DATA.",
        ),
    ]
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="Questions, where a program is named.")] = None
    metric: Annotated[
        str, typer.Option("--metric", metavar="METRIC", rich_help_panel=WHAT, help="The reward, as for compile.")
    ] = "exact"
    against: Annotated[
        str,
        typer.Option("--against", metavar="METRIC", rich_help_panel=WHAT, help="The verifier that says what is right."),
    ] = "exact"
    verdict: Annotated[
        str | None,
        option(
            "--verdict", metavar="COLUMN", panel=WHAT, help="A person's verdicts in ANSWERS, in place of a verifier."
        ),
    ] = None
    given: Annotated[
        str,
        typer.Option("--given", metavar="COLUMN", rich_help_panel=WHAT, help="The answer to be scored, in ANSWERS."),
    ] = "given"
    inputs: Annotated[
        list[str] | None, option("--inputs", metavar="FIELD[=COLUMN]", panel=WHAT, help="As for compile, repeatable.")
    ] = None
    answer: Annotated[
        str | None,
        option("--answer", metavar="FIELD[=COLUMN]", panel=WHAT, help="The expected answer, as for compile."),
    ] = None
    limit: Annotated[int | None, option("--limit", metavar="N", panel=WHAT, help="Read the first N rows only.")] = None
    k: Annotated[int, typer.Option("-k", metavar="K", rich_help_panel=HOW, help="Rollouts per question of DATA.")] = 5
    seed: Annotated[int, typer.Option("--seed", metavar="N", rich_help_panel=HOW, help="Draws the rollouts.")] = 0
    lm: Annotated[
        str | None, option("--lm", metavar="MODEL", panel=HOW, help="Answers, and judges if the reward asks an LM.")
    ] = None
    api_base: Annotated[str | None, option("--api-base", metavar="URL", panel=HOW, help="Endpoint of --lm.")] = None
    lm_option: Annotated[
        list[str] | None, option("--lm-option", metavar="NAME=VALUE", panel=HOW, help="As for compile, repeatable.")
    ] = None
    threads: Annotated[int, typer.Option("--threads", metavar="N", rich_help_panel=HOW, help="LM calls at once.")] = 8
