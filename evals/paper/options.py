"""The options of `tfgrpo paper`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli import option

MODELS = "Language models (keys are read from the environment, e.g. OPENAI_API_KEY)"
SIZE = "How much is run"
DATA = "Data and tools"
RECORDS = "Records"


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """Which table, with which models, on which data."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="The table; see `list`.")]
    lm: Annotated[
        str | None,
        option(
            "--lm",
            metavar="MODEL",
            panel=MODELS,
            help="Stands for the paper's frozen models: provider/model, or `simulated` for the embedded one.",
        ),
    ] = None
    api_base: Annotated[
        str | None, option("--api-base", metavar="URL", panel=MODELS, help="Endpoint of --lm, OpenAI-compatible.")
    ] = None
    model: Annotated[
        list[str] | None,
        option(
            "--model",
            metavar="PAPERS=MODEL[@URL]",
            panel=MODELS,
            help="A model for one of the paper's, repeatable: qwen3-32b=openai/qwen@http://127.0.0.1:8000/v1. The only "
            "way to run one that is RL-trained (retool, afm, mirothinker).",
        ),
    ] = None
    judge: Annotated[
        str | None,
        option(
            "--judge", metavar="MODEL[@URL]", panel=MODELS, help="Judges answers of web search. Default: the row's."
        ),
    ] = None
    lm_option: Annotated[
        list[str] | None,
        option("--lm-option", metavar="NAME=VALUE", panel=MODELS, help="For all models, repeatable: max_tokens=8000."),
    ] = None
    limit: Annotated[
        int | None,
        option(
            "--limit",
            metavar="N",
            panel=SIZE,
            help="Only N training examples, N questions per test, and at most N rollouts each (never below 3).",
        ),
    ] = None
    k: Annotated[
        int | None, option("-k", metavar="K", panel=SIZE, help="Rollouts per question. Default: the paper's.")
    ] = None
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", rich_help_panel=SIZE, help="Trainings.")] = 1
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=SIZE, help="Show what would run and take; spend nothing.")
    ] = False
    price: Annotated[
        str | None,
        option("--price-per-million", metavar="IN,OUT", panel=SIZE, help="US dollars, for --dry-run."),
    ] = None
    data: Annotated[
        str | None,
        option(
            "--data",
            metavar="DIR",
            panel=DATA,
            help="Folder with files of the benchmarks, or `embedded` for problems that the simulated LM can work on. "
            "Default: the Hugging Face Hub.",
        ),
    ] = None
    search: Annotated[
        str | None,
        option("--search", metavar="NAME", panel=DATA, help="serper, tavily, ddgs, local:FOLDER or `embedded`."),
    ] = None
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", rich_help_panel=RECORDS, help="Rows, and a folder per table.")
    ] = Path("out/paper")
    threads: Annotated[
        int, typer.Option("--threads", metavar="N", rich_help_panel=RECORDS, help="LM calls at once.")
    ] = 8
    max_errors: Annotated[
        int | None, option("--max-errors", metavar="N", panel=RECORDS, help="Lost test rollouts tolerated.")
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", rich_help_panel=RECORDS, help="Run rows again that are finished.")
    ] = False
    tracking: Annotated[
        bool | None,
        option("--tracking/--no-tracking", panel=RECORDS, help="Record to MLflow. Default: if it is installed."),
    ] = None
    tracking_uri: Annotated[
        str | None, option("--tracking-uri", metavar="URI", panel=RECORDS, help="MLflow store or server.")
    ] = None
