"""The options of the commands that are no settings of the optimizer: data, language models, records, what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tfgrpo_dspy.cli.options.program import ProgramOptions
from tfgrpo_dspy.cli.options.taken import Taken
from tfgrpo_dspy.declaration import at_least, setting
from tfgrpo_dspy.lm.budget import Budget
from tfgrpo_dspy.settings import EndpointSettings, LimitSettings, RolloutSettings, Settings

_EXAMPLES = (
    "A JSONL, JSON, CSV, TSV, Parquet or Arrow file, a folder of these, - for standard input, or a Hub dataset id"
)


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which columns of the examples are read, and how answers are scored."""

    group: ClassVar[str] = "data"

    inputs: Sequence[str] | None = setting(
        None,
        "Input field, repeated or separated by commas; a column of another name or a nested one is written "
        "question=prompt.0.content. Guessed if left out.",
        metavar="FIELD[=COLUMN]",
        common=True,
    )
    answer: str | None = setting(
        None,
        "Field with the expected answer, e.g. answer=solution. Guessed if left out.",
        metavar="FIELD[=COLUMN]",
        common=True,
    )
    limit: int | None = setting(None, "Read the first N rows only.", at_least(1))
    split: str | None = setting(
        None, "Split of a dataset or a folder, or a part of it, e.g. train[:100].", metavar="NAME"
    )
    metric: str = setting(
        "exact",
        "exact (same words), number (same number), module:function or file.py:function.",
        metavar="METRIC",
        common=True,
    )


@dataclass(frozen=True, kw_only=True)
class LMOptions:
    """Which language model answers, and how."""

    group: ClassVar[str] = "models"

    lm: str | None = setting(
        None,
        "The program's LM as provider/model, e.g. openai/gpt-4.1-mini; simulated is the embedded one. May be left out "
        "if the program configures its own.",
        metavar="MODEL",
        common=True,
    )
    api_base: str | None = setting(None, "Endpoint of an OpenAI-compatible server.", metavar="URL", common=True)
    engine: Literal["auto", "lm15", "litellm"] = setting("auto", "DSPy's transport.")
    lm_option: Sequence[str] | None = setting(
        None,
        "Further argument of dspy.LM, repeatable: max_tokens=4000, num_retries=1, cache=false.",
        metavar="NAME=VALUE",
    )


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Whether and where MLflow records."""

    group: ClassVar[str] = "records"

    tracking: bool | None = setting(None, "Whether MLflow records the run; if it is installed, unless told otherwise.")
    experiment: str | None = setting(
        None, "MLflow experiment; that of MLFLOW_EXPERIMENT_NAME, else tfgrpo, if left out.", metavar="NAME"
    )
    tracking_uri: str | None = setting(
        None, "MLflow store or server; MLFLOW_TRACKING_URI, else mlruns/mlflow.db here, if left out.", metavar="URI"
    )


@dataclass(frozen=True, kw_only=True)
class TrackingOptions(StoreOptions):
    """What MLflow records."""

    log_model: bool = setting(False, "Whether the learned program is recorded as a model that MLflow can serve.")


@dataclass(frozen=True, kw_only=True)
class MomentOptions:
    """What is wanted of this one command, and is no part of the run that it makes."""

    group: ClassVar[str] = "limits"

    dry_run: bool = setting(False, "Roll out a small pilot, forecast calls, tokens, cost and time; stop.", common=True)
    pilot: int = setting(4, "Examples of the pilot.", at_least(1))
    confirm_above: float | None = setting(
        None, "Forecast the run first, and ask if it is expected to cost more.", metavar="USD"
    )
    json: bool = setting(
        False,
        "Whether the result is one JSON document on standard output, and the rest on standard error.",
        group="records",
    )
    restart: bool = setting(False, "Put the run that is in `log_dir` aside, and start over.")
    accept_changes: bool = setting(
        False, "Go on with a run though what decides it changed since; what changed is noted."
    )


@dataclass(frozen=True, kw_only=True)
class CompileOptions(Taken, ProgramOptions, DataOptions, LMOptions, TrackingOptions, MomentOptions):
    """Options of `tfgrpo compile`."""

    takes = (Settings, Budget)
    moment = MomentOptions
    arguments = ("program", "trainset")

    program: str = setting(
        "",
        "package.module:attribute or file.py:attribute. Options of a function that makes it follow TRAINSET.",
        group="data",
    )
    trainset: str = setting("", f"{_EXAMPLES}.", group="data")
    wandb: str | None = setting(
        None, "Project of Weights & Biases in which the run is recorded too.", metavar="PROJECT", group="records"
    )
    valset: str | None = setting(
        None, "Examples by which the best step's library is chosen.", metavar="FILE", group="data", common=True
    )
    gate: Sequence[str] | None = setting(
        None,
        "Examples on which an update has to be shown not to be worse before it enters. Repeatable.",
        metavar="FILE",
        group="safeguards",
    )
    test: str | None = setting(
        None,
        "Held-out examples on which the bare and the learned program are compared at the end.",
        metavar="FILE",
        group="safeguards",
    )
    review: bool = setting(
        False, "Whether you are asked before each operation on the library is applied.", group="safeguards"
    )
    review_file: Path | None = setting(
        None,
        "Each step's operations are written there and the run stops; with decisions filled in, the same command goes "
        "on.",
        metavar="FILE",
        group="safeguards",
    )
    library: Path | None = setting(None, "Library to start from, any format.", metavar="FILE", group="method")
    reflection_lm: str | None = setting(
        None,
        "Summarises and compares, at the same endpoint; the program's LM if left out.",
        metavar="MODEL",
        group="models",
    )
    executor: Literal["threads", "ray"] = setting(
        "threads", "Where rollouts run: threads here, or workers of a Ray cluster.", group="endpoint"
    )
    ray_address: str | None = setting(
        None,
        "Ray cluster to use, or auto for the one on this machine; one is started here if left out.",
        metavar="HOST:PORT",
        group="endpoint",
    )
    out: Path = setting(
        Path("out"),
        "Folder for program.json, library.json with its history, library.md, report.md, run.html and recipe.yaml.",
        metavar="DIR",
        group="records",
        common=True,
    )
    log_dir: Path | None = setting(
        None, "Folder for the run's store; log in the `out` folder if left out.", metavar="DIR", group="records"
    )
    identity: str | None = setting(
        None, "What program, metric and data are where a run that is taken up could not tell it.", group="records"
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Taken, ProgramOptions, DataOptions, LMOptions, StoreOptions):
    """Options of `tfgrpo evaluate`."""

    takes = (RolloutSettings, LimitSettings, EndpointSettings, Budget)
    arguments = ("program", "devset")

    program: str = setting(
        "",
        "package.module:attribute, file.py:attribute, or a program.json of tfgrpo compile or its folder.",
        group="data",
    )
    devset: str = setting("", f"{_EXAMPLES}.", group="data")
    load: Path | None = setting(
        None, "A saved program.json to load into PROGRAM.", metavar="FILE", group="data", common=True
    )
    baseline: bool = setting(
        True, "Whether the bare program is evaluated too, and the gain shown.", group="data", common=True
    )
    fail_under: float | None = setting(
        None, "Exit with 8 if the mean reward is lower; of a compiled program that of the learned one.", group="data"
    )
    no_worse_than: Path | None = setting(
        None,
        "What an earlier --json printed for the same questions; exit with 8 if the program is shown to be worse.",
        metavar="FILE",
        group="data",
    )
    json: bool = setting(
        False,
        "Whether the result is one JSON document on standard output, and the rest on standard error.",
        group="records",
    )
    k: int = setting(5, "Rollouts per question.", at_least(1), group="data", common=True)


@dataclass(frozen=True, kw_only=True)
class DemoOptions(Taken, TrackingOptions):
    """Options of `tfgrpo demo`."""

    takes = (Settings,)

    seed: int = setting(0, "Draws the problems, the simulated LM's answers and the run.", group="method", common=True)
    examples: int = setting(48, "Problems to learn from.", at_least(1), group="data", common=True)
    held_out: int = setting(60, "Problems to measure the gain on.", at_least(1), group="data", common=True)
    num_threads: int = setting(4, "LM calls at once.", at_least(1), group="endpoint")
    out: Path = setting(Path("out/demo"), "Folder for the files.", metavar="DIR", group="records", common=True)
