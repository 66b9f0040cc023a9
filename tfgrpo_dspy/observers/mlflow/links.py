"""Addresses within the MLflow UI, which opens on a page of traces otherwise."""

from __future__ import annotations

from typing import NamedTuple


class Links(NamedTuple):
    """Where to look in a browser."""

    chart: str
    """All runs of the experiment, metrics side by side."""
    run: str | None
    """Metrics of the run; None if there is none yet."""


def links_to(base_url: str, experiment_id: str, run_id: str | None) -> Links:
    """The pages of an experiment and a run on an MLflow server, e.g. at `http://127.0.0.1:5000`."""
    runs = f"{base_url.rstrip('/')}/#/experiments/{experiment_id}/runs"
    return Links(f"{runs}?compareRunsMode=CHART", f"{runs}/{run_id}/model-metrics" if run_id else None)
