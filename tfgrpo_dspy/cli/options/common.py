"""The options of the commands, each declared once: a command takes them as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.options.gates import GuardingOptions
from tfgrpo_dspy.cli.options.program import ProgramOptions
from tfgrpo_dspy.cli.options.safety import ForecastOptions, PlaceOptions, SafetyOptions
from tfgrpo_dspy.cli.options.taking import option

DATA = "Data"
MODELS = "Language models (keys are read from the environment, e.g. OPENAI_API_KEY)"
LEARNING = "Learning"
RECORDS = "Records"


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which columns of the examples are read, and how answers are scored."""

    inputs: Annotated[
        list[str] | None,
        option(
            "--inputs",
            metavar="FIELD[=COLUMN]",
            panel=DATA,
            help="Input field, repeated or separated by commas; a column of another name or a nested one is written "
            "question=prompt.0.content. Guessed if left out.",
        ),
    ] = None
    answer: Annotated[
        str | None,
        option(
            "--answer",
            metavar="FIELD[=COLUMN]",
            panel=DATA,
            help="Field with the expected answer, e.g. answer=solution. Guessed if left out.",
        ),
    ] = None
    limit: Annotated[int | None, option("--limit", metavar="N", panel=DATA, help="Read the first N rows only.")] = None
    split: Annotated[
        str | None,
        option("--split", metavar="NAME", panel=DATA, help="Split of a Hugging Face dataset, e.g. train."),
    ] = None
    metric: Annotated[
        str | None,
        option(
            "--metric",
            metavar="METRIC",
            panel=DATA,
            help="exact (the default: same words), number (same number), module:function or file.py:function.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LMOptions:
    """Which language model answers, and how."""

    lm: Annotated[
        str | None,
        option(
            "--lm",
            metavar="MODEL",
            panel=MODELS,
            help="The program's LM as provider/model, e.g. openai/gpt-4.1-mini; `simulated` is the embedded one. "
            "May be left out if the program configures its own.",
        ),
    ] = None
    api_base: Annotated[
        str | None, option("--api-base", metavar="URL", panel=MODELS, help="Endpoint of an OpenAI-compatible server.")
    ] = None
    engine: Annotated[
        str, typer.Option("--engine", metavar="auto|lm15|litellm", rich_help_panel=MODELS, help="DSPy's transport.")
    ] = "auto"
    lm_option: Annotated[
        list[str] | None,
        option(
            "--lm-option",
            metavar="NAME=VALUE",
            panel=MODELS,
            help="Further argument of dspy.LM, repeatable: max_tokens=4000, num_retries=1, cache=false.",
        ),
    ] = None
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", rich_help_panel=MODELS, help="Of rollouts, above 0.")
    ] = 0.7
    threads: Annotated[
        int | None,
        option("--threads", metavar="N", panel=MODELS, help="LM calls at once. Default: DSPy's, 8."),
    ] = None
    max_errors: Annotated[
        int | None,
        option("--max-errors", metavar="N", panel=MODELS, help="Losses tolerated. Default: DSPy's, 10."),
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", rich_help_panel=MODELS, help="Draws rollouts and batches.")
    ] = 0


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """Whether and where MLflow records."""

    tracking: Annotated[
        bool | None,
        option("--tracking/--no-tracking", panel=RECORDS, help="Record to MLflow. Default: if it is installed."),
    ] = None
    experiment: Annotated[
        str, typer.Option("--experiment", metavar="NAME", rich_help_panel=RECORDS, help="MLflow experiment.")
    ] = "tfgrpo"
    tracking_uri: Annotated[
        str | None,
        option(
            "--tracking-uri",
            metavar="URI",
            panel=RECORDS,
            help="MLflow store or server. Default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db here.",
        ),
    ] = None
    log_model: Annotated[
        bool,
        option("--log-model", panel=RECORDS, help="Record the learned program as a model that MLflow can serve."),
    ] = False


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """What `TrainingFreeGRPO` is told; its defaults are the paper's."""

    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", rich_help_panel=LEARNING, help="Passes over the trainset.")
    ] = 3
    batch_size: Annotated[
        int | None,
        option("--batch-size", metavar="N", panel=LEARNING, help="Examples per step. Default: all of them."),
    ] = None
    group_size: Annotated[
        int, typer.Option("--group-size", metavar="G", rich_help_panel=LEARNING, help="Rollouts per example.")
    ] = 5
    min_group_size: Annotated[
        int | None,
        option(
            "--min-group-size",
            metavar="N",
            panel=LEARNING,
            help="Adaptive groups: start with N rollouts, add one at a time up to G while rewards are equal.",
        ),
    ] = None
    experiences_per_group: Annotated[
        int,
        typer.Option(
            "--experiences-per-group", metavar="N", rich_help_panel=LEARNING, help="Candidates a group may give."
        ),
    ] = 1
    library: Annotated[
        Path | None, option("--library", metavar="FILE", panel=LEARNING, help="Library to start from, any format.")
    ] = None
    max_words: Annotated[
        int, typer.Option("--max-words", metavar="N", rich_help_panel=LEARNING, help="Words per experience at most.")
    ] = 32
    max_experiences: Annotated[
        int | None, option("--max-experiences", metavar="N", panel=LEARNING, help="Entries of the library at most.")
    ] = None
    max_library_tokens: Annotated[
        int | None,
        option("--max-library-tokens", metavar="N", panel=LEARNING, help="Estimated tokens of the library at most."),
    ] = None
    retrieve: Annotated[
        int | None,
        option(
            "--retrieve",
            metavar="K",
            panel=LEARNING,
            help="Experiences that a query reads, pinned ones besides: those most alike to it (BM25). Default: all.",
        ),
    ] = None
    dropout: Annotated[
        float,
        typer.Option(
            "--dropout",
            metavar="P",
            rich_help_panel=LEARNING,
            help="Chance that a rollout does not read an experience; measures what each of them does.",
        ),
    ] = 0.0
    prune: Annotated[
        str | None,
        option(
            "--prune",
            metavar="harmful",
            panel=LEARNING,
            help="Delete experiences that were measured to lower the reward; needs --dropout.",
        ),
    ] = None
    objective: Annotated[
        str | None,
        option(
            "--objective",
            metavar="TEXT",
            panel=LEARNING,
            help="What the program is to do well. Default: its own instructions.",
        ),
    ] = None
    ground_truth: Annotated[
        bool,
        option(
            "--ground-truth/--no-ground-truth",
            panel=LEARNING,
            help="Whether reflection is shown the expected answers. Default: it is.",
        ),
    ] = True


@dataclass(frozen=True, kw_only=True)
class CompileOptions(
    ForecastOptions,
    GuardingOptions,
    TrackingOptions,
    PlaceOptions,
    SafetyOptions,
    LearningOptions,
    LMOptions,
    DataOptions,
    ProgramOptions,
):
    """Options of `tfgrpo compile`."""

    program: Annotated[
        str,
        typer.Argument(
            metavar="PROGRAM",
            help="package.module:attribute or file.py:attribute. Options of a function that makes it follow TRAINSET.",
        ),
    ]
    trainset: Annotated[str, typer.Argument(metavar="TRAINSET", help="JSONL, JSON, CSV, Parquet or a Hub dataset id.")]
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for program.json, library.json with its history, library.md and report.md.",
        ),
    ] = Path("out")
    valset: Annotated[
        str | None,
        option("--valset", metavar="FILE", panel=DATA, help="Examples by which the best step's library is chosen."),
    ] = None
    reflection_lm: Annotated[
        str | None,
        option(
            "--reflection-lm",
            metavar="MODEL",
            panel=MODELS,
            help="Summarises and compares, at the same endpoint. Default: --lm.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(LMOptions, DataOptions, ProgramOptions):
    """Options of `tfgrpo evaluate`."""

    program: Annotated[
        str,
        typer.Argument(
            metavar="PROGRAM", help="package.module:attribute, file.py:attribute, or a program.json of tfgrpo compile."
        ),
    ]
    devset: Annotated[str, typer.Argument(metavar="DEVSET", help="JSONL, JSON, CSV, Parquet or a Hub dataset id.")]
    load: Annotated[
        Path | None, typer.Option("--load", metavar="FILE", help="A saved program.json to load into PROGRAM.")
    ] = None
    baseline: Annotated[
        bool, typer.Option("--baseline/--no-baseline", help="Evaluate the bare program too, and show the gain.")
    ] = True
    k: Annotated[int, typer.Option("-k", metavar="K", help="Rollouts per question.")] = 5


@dataclass(frozen=True, kw_only=True)
class DemoOptions(TrackingOptions):
    """Options of `tfgrpo demo`."""

    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Draws the problems, the simulated LM's answers and the run.")
    ] = 0
    examples: Annotated[int, typer.Option("--examples", metavar="N", help="Problems to learn from.")] = 48
    held_out: Annotated[int, typer.Option("--held-out", metavar="N", help="Problems to measure the gain on.")] = 60
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Passes over the problems.")] = 3
    group_size: Annotated[int, typer.Option("--group-size", metavar="G", help="Rollouts per problem.")] = 5
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="LM calls at once.")] = 4
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files.")] = Path("out/demo")
