"""The options of the commands, each declared once: a command takes them as one frozen value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

Options = TypeVar("Options")

DATA = "Data"
MODELS = "Language models (keys are read from the environment, e.g. OPENAI_API_KEY)"
LEARNING = "Learning"
RECORDS = "Records"
SAFETY = "Safety"
PLACE = "Where rollouts run"


def taking(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command of a function that takes one value: the fields of its class become arguments and options."""

    def decorate(run: Callable[[Options], None]) -> Callable[..., None]:
        hints = get_type_hints(options, include_extras=True)

        def command(**values: Any) -> None:
            run(options(**values))

        command.__doc__, command.__name__ = run.__doc__, run.__name__
        command.__annotations__ = hints
        parameters = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f), annotation=hints[f.name])
            for f in fields(options)  # type: ignore[arg-type]
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _option(*names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False)


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which columns of the examples are read, and how answers are scored."""

    inputs: Annotated[
        list[str] | None,
        _option(
            "--inputs",
            metavar="FIELD[=COLUMN]",
            panel=DATA,
            help="Input field, repeated or separated by commas; a column of another name or a nested one is written "
            "question=prompt.0.content. Guessed if left out.",
        ),
    ] = None
    answer: Annotated[
        str | None,
        _option(
            "--answer",
            metavar="FIELD[=COLUMN]",
            panel=DATA,
            help="Field with the expected answer, e.g. answer=solution. Guessed if left out.",
        ),
    ] = None
    limit: Annotated[int | None, _option("--limit", metavar="N", panel=DATA, help="Read the first N rows only.")] = None
    split: Annotated[
        str | None,
        _option("--split", metavar="NAME", panel=DATA, help="Split of a Hugging Face dataset, e.g. train."),
    ] = None
    metric: Annotated[
        str | None,
        _option(
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
        _option(
            "--lm",
            metavar="MODEL",
            panel=MODELS,
            help="The program's LM as provider/model, e.g. openai/gpt-4.1-mini; `simulated` is the embedded one. "
            "May be left out if the program configures its own.",
        ),
    ] = None
    api_base: Annotated[
        str | None, _option("--api-base", metavar="URL", panel=MODELS, help="Endpoint of an OpenAI-compatible server.")
    ] = None
    engine: Annotated[
        str, typer.Option("--engine", metavar="auto|lm15|litellm", rich_help_panel=MODELS, help="DSPy's transport.")
    ] = "auto"
    lm_option: Annotated[
        list[str] | None,
        _option(
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
        _option("--threads", metavar="N", panel=MODELS, help="LM calls at once. Default: DSPy's, 8."),
    ] = None
    max_errors: Annotated[
        int | None,
        _option("--max-errors", metavar="N", panel=MODELS, help="Losses tolerated. Default: DSPy's, 10."),
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", rich_help_panel=MODELS, help="Draws rollouts and batches.")
    ] = 0


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """Whether and where MLflow records."""

    tracking: Annotated[
        bool | None,
        _option("--tracking/--no-tracking", panel=RECORDS, help="Record to MLflow. Default: if it is installed."),
    ] = None
    experiment: Annotated[
        str, typer.Option("--experiment", metavar="NAME", rich_help_panel=RECORDS, help="MLflow experiment.")
    ] = "tfgrpo"
    tracking_uri: Annotated[
        str | None,
        _option(
            "--tracking-uri",
            metavar="URI",
            panel=RECORDS,
            help="MLflow store or server. Default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db here.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """What `TrainingFreeGRPO` is told; its defaults are the paper's."""

    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", rich_help_panel=LEARNING, help="Passes over the trainset.")
    ] = 3
    batch_size: Annotated[
        int | None,
        _option("--batch-size", metavar="N", panel=LEARNING, help="Examples per step. Default: all of them."),
    ] = None
    group_size: Annotated[
        int, typer.Option("--group-size", metavar="G", rich_help_panel=LEARNING, help="Rollouts per example.")
    ] = 5
    experiences_per_group: Annotated[
        int,
        typer.Option(
            "--experiences-per-group", metavar="N", rich_help_panel=LEARNING, help="Candidates a group may give."
        ),
    ] = 1
    library: Annotated[
        Path | None, _option("--library", metavar="FILE", panel=LEARNING, help="Library to start from, any format.")
    ] = None
    max_words: Annotated[
        int, typer.Option("--max-words", metavar="N", rich_help_panel=LEARNING, help="Words per experience at most.")
    ] = 32
    max_experiences: Annotated[
        int | None, _option("--max-experiences", metavar="N", panel=LEARNING, help="Entries of the library at most.")
    ] = None
    max_library_tokens: Annotated[
        int | None,
        _option("--max-library-tokens", metavar="N", panel=LEARNING, help="Estimated tokens of the library at most."),
    ] = None
    objective: Annotated[
        str | None,
        _option(
            "--objective",
            metavar="TEXT",
            panel=LEARNING,
            help="What the program is to do well. Default: its own instructions.",
        ),
    ] = None
    ground_truth: Annotated[
        bool,
        _option(
            "--ground-truth/--no-ground-truth",
            panel=LEARNING,
            help="Whether reflection is shown the expected answers. Default: it is.",
        ),
    ] = True


@dataclass(frozen=True, kw_only=True)
class SafetyOptions:
    """What a run may take, and what becomes of one that was killed."""

    log_dir: Annotated[
        Path | None,
        _option("--log-dir", metavar="DIR", panel=SAFETY, help="Journal of the run. Default: log in the --out folder."),
    ] = None
    restart: Annotated[
        bool, typer.Option("--restart", rich_help_panel=SAFETY, help="Put the journal aside, and start over.")
    ] = False
    max_lm_calls: Annotated[
        int | None, _option("--max-lm-calls", metavar="N", panel=SAFETY, help="Calls that the run may make at most.")
    ] = None
    max_tokens: Annotated[
        int | None, _option("--max-tokens", metavar="N", panel=SAFETY, help="Tokens, in and out together, at most.")
    ] = None
    max_cost_usd: Annotated[
        float | None, _option("--max-cost-usd", metavar="USD", panel=SAFETY, help="US dollars at most.")
    ] = None
    max_seconds: Annotated[
        float | None, _option("--max-seconds", metavar="S", panel=SAFETY, help="Nothing new starts after that time.")
    ] = None
    price: Annotated[
        str | None,
        _option("--price", metavar="IN,OUT", panel=SAFETY, help="USD per million tokens, if DSPy does not know them."),
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
        _option("--call-timeout", metavar="S", panel=SAFETY, help="Seconds per call. Default: learned from latency."),
    ] = None
    rollout_timeout: Annotated[
        float | None,
        _option("--rollout-timeout", metavar="S", panel=SAFETY, help="Seconds per rollout. Default: none."),
    ] = None
    review: Annotated[
        bool,
        typer.Option("--review", rich_help_panel=SAFETY, help="Ask before each operation on the library is applied."),
    ] = False
    review_file: Annotated[
        Path | None,
        _option(
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
        _option(
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
        _option(
            "--confirm-above",
            metavar="USD",
            panel=SAFETY,
            help="Forecast the run first, and ask if it is expected to cost more. Default: do not ask.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class CompileOptions(
    ForecastOptions, TrackingOptions, PlaceOptions, SafetyOptions, LearningOptions, LMOptions, DataOptions
):
    """Options of `tfgrpo compile`."""

    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="package.module:attribute or file.py:attribute.")]
    trainset: Annotated[str, typer.Argument(metavar="TRAINSET", help="JSONL, JSON, CSV, Parquet or a Hub dataset id.")]
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder for program.json, library.json, library.md and report.md."),
    ] = Path("out")
    valset: Annotated[
        str | None,
        _option("--valset", metavar="FILE", panel=DATA, help="Examples by which the best step's library is chosen."),
    ] = None
    reflection_lm: Annotated[
        str | None,
        _option(
            "--reflection-lm",
            metavar="MODEL",
            panel=MODELS,
            help="Summarises and compares, at the same endpoint. Default: --lm.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(LMOptions, DataOptions):
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
