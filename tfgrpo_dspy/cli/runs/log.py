"""`tfgrpo log`: what the store of a run holds; shown, exported, checked record by record, or recorded in MLflow."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfgrpo_dspy.cli.boundary import check_recorded
from tfgrpo_dspy.cli.heldout import note_run, run_of
from tfgrpo_dspy.cli.terminal import facts, out, say, section, show_warnings_of_the_library, table_of
from tfgrpo_dspy.errors import DataError, SettingsError
from tfgrpo_dspy.runtime.locks import holding
from tfgrpo_dspy.text import counted, show_path, visible

if TYPE_CHECKING:
    from tfgrpo_dspy.runtime.stored import Stored

_MOST = 100
"""Characters of a setting that are shown."""


def show_log(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its store's.")],
    export: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every record as a line of JSON.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Read every record, and name those that are damaged.")] = False,
    to_mlflow: Annotated[
        bool, typer.Option("--to-mlflow", help="Record the run in MLflow, or what is missing there of it.")
    ] = False,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="With --to-mlflow: that of a new run.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="With --to-mlflow: the store or server.")
    ] = None,
) -> None:
    """Show what a run is, what it did and spent; one that is going on, too."""
    from tfgrpo_dspy.runtime.stored import reading

    if (export is not None) + check + to_mlflow > 1:
        raise SettingsError("--export, --check and --to-mlflow are three commands; give one of them")
    if not to_mlflow and (experiment or tracking_uri):
        raise SettingsError("--experiment and --tracking-uri go with --to-mlflow")
    with reading(folder) as stored:
        if to_mlflow:
            _record(stored, folder, experiment, tracking_uri)
        elif check:
            if damaged := stored.damaged:
                named = "\n".join(f"  {visible(record.described)}" for record in damaged)
                are = "is" if len(damaged) == 1 else "are"
                raise DataError(
                    f"{counted(len(damaged), 'record')} of {show_path(stored.path)} {are} damaged; "
                    f"the run makes again what it held when it is taken up:\n{named}"
                )
            say(f"{show_path(stored.path)}: {counted(stored.size, 'record')}, all as they were written")
        elif export is not None:
            written = 0
            with export.open("w", encoding="utf-8", newline="\n") as lines:
                for record in stored.export():
                    lines.write(json.dumps(record) + "\n")
                    written += 1
            say(f"{counted(written, 'record')} written to {show_path(export)}")
        else:
            _show(stored)


def _record(stored: Stored, folder: Path, experiment: str | None, tracking_uri: str | None) -> None:
    """Exit code 3 if something could not be recorded."""
    from tfgrpo_dspy.cli.view import mlflow_text
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
    from tfgrpo_dspy.run.recall import recall

    show_warnings_of_the_library()
    noted = None if experiment or tracking_uri else run_of(folder)
    tracking = noted or MLflowTracking(experiment, tracking_uri=tracking_uri)
    tracking.check()
    with holding(stored.path.parent):  # one that is going on records itself
        is_recorded = tracking.record(list(recall(stored)))  # the store is read by one thread at a time
    if not is_recorded:
        check_recorded(tracking.unrecorded)
    if stored.path.parent != folder:
        note_run(tracking, folder)
    say(f"MLflow: {mlflow_text(tracking)}")


def _show(stored: Stored) -> None:
    known = stored.facts
    head = [(name, str(known.get(name, ""))) for name in ("token", "made")]
    spent = stored.spent
    cost = f", ${spent.cost_usd:.4f}" if spent.cost_usd else ""
    paid = f"{counted(spent.lm_calls, 'LM call')}, {spent.tokens:,} tokens{cost}, {spent.seconds:.0f} s"
    out().print(facts([*head, ("spent", paid)]))
    decides = {
        name: visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in known.get("identity", {}).items()
    }
    cut = [(name, text if len(text) <= _MOST else f"{text[:_MOST]}...") for name, text in decides.items()]
    section("What decides it", facts(cut))
    if steps := stored.steps:
        columns = ("step", "epoch", "rollouts", "lost", "mean reward", "operations", "experiences", "time")
        rows = [_step(stored, number, step) for number, step in steps.items()]
        section("Steps", table_of(columns, rows, numeric=(0, 1, 2, 3, 4, 6, 7)))
    section("Results", facts((visible(what), f"{number:,}") for what, number in sorted(stored.counts.items())))
    if notes := stored.notes:
        section("What happened", facts((note.at, visible(note.text)) for note in notes))


def _step(stored: Stored, number: int, step: Mapping[str, Any]) -> tuple[str, ...]:
    rollouts = [rollout for group in step["groups"] for rollout in stored.part(group)["rollouts"]]
    rewards = [rollout["reward"] for rollout in rollouts if "reward" in rollout]
    mean = f"{sum(rewards) / len(rewards):.3f}" if rewards else "none"
    operations = ", ".join(f"{count} {kind}" for kind, count in Counter(step["changes"]).items()) or "none"
    lost = len(rollouts) - len(rewards)
    cells = (number, step["epoch"], len(rollouts), lost, mean, operations, step["experiences"])
    return (*map(str, cells), f"{step['seconds']:.1f} s")
