"""Puts held-out scores where the run that learned the program is recorded, also from a later command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tfgrpo_dspy.cli.boundary import check_recorded
from tfgrpo_dspy.cli.named import note, was_named
from tfgrpo_dspy.cli.terminal import say, warn
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.reports.redaction import safe

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

RUN = "mlflow.json"
"""Beside a program: the MLflow run that learned it."""


def note_run(tracking: MLflowTracking | None, folder: Path) -> None:
    """Leave in a folder which run made what is in it; an address that holds a credential is left out."""
    if tracking is None or tracking.run_id is None:
        return
    uri = tracking.store_uri or ""
    noted = {"run_id": tracking.run_id, "tracking_uri": uri if safe(uri) == uri else None}
    write_atomically(json.dumps(noted, indent=2) + "\n", folder / RUN)
    with suppress(OSError):
        note("mlflow", noted["tracking_uri"])


def run_of(folder: Path, tracking_uri: str | None = None) -> MLflowTracking | None:
    """The run that made what is in a folder; None if none did, its store is another's, or MLflow is not installed.

    Raises:
        DataError: The note in the folder is damaged.
    """
    path = folder / RUN
    if not path.is_file() or find_spec("mlflow") is None:
        return None
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        run_id, uri = str(noted["run_id"]), tracking_uri or noted["tracking_uri"]
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it, or evaluate with --no-tracking") from error
    if tracking_uri is None and not was_named("mlflow", uri):
        warn(f"{path} names an MLflow store that no run of yours here was recorded in; --tracking-uri records there")
        return None
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking

    return MLflowTracking(tracking_uri=uri, run_id=run_id)


def add_to_run(tracking: MLflowTracking, evaluations: Mapping[str, Evaluation], gain: Comparison | None) -> None:
    """Add scores to the run of an earlier command, and say so; exit code 3 if that failed."""
    if not tracking.record_heldout(evaluations, gain):
        check_recorded(tracking.unrecorded)
    say(f"The scores were added to the MLflow run {tracking.run_id}")
