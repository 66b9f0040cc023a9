"""Options that bound, forecast and place a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.options.taking import option

SAFETY = "Safety"
PLACE = "Where rollouts run"


@dataclass(frozen=True, kw_only=True)
class SafetyOptions:
    """What a run may take, and what becomes of one that was killed."""

    log_dir: Annotated[
        Path | None,
        option("--log-dir", metavar="DIR", panel=SAFETY, help="Journal of the run. Default: log in the --out folder."),
    ] = None
    restart: Annotated[
        bool, typer.Option("--restart", rich_help_panel=SAFETY, help="Put the journal aside, and start over.")
    ] = False
    max_lm_calls: Annotated[
        int | None, option("--max-lm-calls", metavar="N", panel=SAFETY, help="Calls that the run may make at most.")
    ] = None
    max_tokens: Annotated[
        int | None, option("--max-tokens", metavar="N", panel=SAFETY, help="Tokens, in and out together, at most.")
    ] = None
    max_cost_usd: Annotated[
        float | None, option("--max-cost-usd", metavar="USD", panel=SAFETY, help="US dollars at most.")
    ] = None
    max_seconds: Annotated[
        float | None, option("--max-seconds", metavar="S", panel=SAFETY, help="Nothing new starts after that time.")
    ] = None
    price: Annotated[
        str | None,
        option("--price", metavar="IN,OUT[,CACHED]", panel=SAFETY, help="USD per million tokens, if DSPy knows none."),
    ] = None
    hedge: Annotated[
        float,
        typer.Option(
            "--hedge",
            metavar="SHARE",
            rich_help_panel=SAFETY,
            help="Second requests for stragglers, as a share of all calls at most.",
        ),
    ] = 0.0
    call_timeout: Annotated[
        float | None,
        option("--call-timeout", metavar="S", panel=SAFETY, help="Seconds per call. Default: learned from latency."),
    ] = None
    rollout_timeout: Annotated[
        float | None,
        option("--rollout-timeout", metavar="S", panel=SAFETY, help="Seconds per rollout. Default: none."),
    ] = None
    review: Annotated[
        bool,
        typer.Option("--review", rich_help_panel=SAFETY, help="Ask before each operation on the library is applied."),
    ] = False
    review_file: Annotated[
        Path | None,
        option(
            "--review-file",
            metavar="FILE",
            panel=SAFETY,
            help="Write each step's operations there and stop; with decisions filled in, the same command goes on.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where rollouts run."""

    executor: Annotated[
        str,
        typer.Option(
            "--executor", metavar="threads|ray", rich_help_panel=PLACE, help="Threads here, or tasks of a Ray cluster."
        ),
    ] = "threads"
    ray_address: Annotated[
        str | None,
        option(
            "--ray-address",
            metavar="HOST:PORT",
            panel=PLACE,
            help="Ray cluster to use, or auto for the one on this machine. Default: one is started for the run.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ForecastOptions:
    """What is said of a run before it is paid."""

    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=SAFETY,
            help="Roll out a small pilot, forecast calls, tokens, cost and time; stop.",
        ),
    ] = False
    pilot: Annotated[
        int, typer.Option("--pilot", metavar="N", rich_help_panel=SAFETY, help="Examples of the pilot.")
    ] = 4
    paper: Annotated[
        bool,
        typer.Option("--paper", rich_help_panel=SAFETY, help="Show the paper's published cost beside the forecast."),
    ] = False
    confirm_above: Annotated[
        float | None,
        option(
            "--confirm-above",
            metavar="USD",
            panel=SAFETY,
            help="Forecast the run first, and ask if it is expected to cost more. Default: do not ask.",
        ),
    ] = None
