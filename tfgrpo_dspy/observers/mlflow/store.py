"""The boundary to MLflow: one run, written by its id, never through the fluent API (its active run is per thread).

The only module that imports mlflow, and only when a run is tracked. Every write can be repeated without harm.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.errors import MissingExtraError, SettingsError
from tfgrpo_dspy.observers.metrics import LAST_OF_STEP
from tfgrpo_dspy.observers.mlflow.database import prepared

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

EXPERIMENT = "tfgrpo"
"""The experiment that is recorded in where nobody named one."""
STATE_TAG = "tfgrpo.state"
_TOKEN_TAG = "mlflow.tfgrpo.token"  # the UI hides tags of this prefix
_TABLES_TAG = "mlflow.loggedArtifacts"
_TAG_ROOM = 7500  # MLflow cuts a tag at 8000 characters, which would break the JSON in this one
_BATCH = 100  # params or tags in one log_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a run shall be recorded, as the user said it."""

    experiment: str | None = None
    """None for the one that MLflow was told of: `set_experiment`, `MLFLOW_EXPERIMENT_NAME`; else ours."""
    tracking_uri: str | None = None
    run_id: str | None = None
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is recorded, as found in the thread that compiles."""

    uri: str
    artifact_location: str | None = None
    """For a new experiment; None leaves it to the tracking server."""
    run_id: str | None = None
    """An existing run to write to."""
    active: bool = False
    """Whether that run is the caller's active one: then it is the caller who ends it."""
    experiment: str = EXPERIMENT
    """For a new run."""
    experiment_id: str | None = None
    """Of the one that `mlflow.set_experiment` chose, in place of the name."""


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What MLflow shows of a dataset; the rows themselves are an artifact."""

    name: str
    context: str
    """`training` or `validation`."""
    digest: str
    columns: tuple[str, ...]
    rows: int


def import_mlflow() -> Any:
    """The mlflow package.

    Raises:
        MissingExtraError: It is not installed.
    """
    # MLflow pulls in LiteLLM, which fetches its price map at import; offline that can hang for ever.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtraError("tracking needs MLflow: pip install 'tfgrpo-dspy[mlflow]'") from error
    return mlflow


def default_store(folder: Path) -> Place:
    """The store below a project folder: `mlruns/mlflow.db`, artifacts beside it; absolute, as MLflow stores it."""
    home = folder.resolve() / "mlruns"
    return Place(f"sqlite:///{(home / 'mlflow.db').as_posix()}", (home / "artifacts").as_uri())


def locate(destination: Destination) -> Place:
    """The store and run to use: what was asked for, else the thread's active run, else the user's store, else ours."""
    mlflow = import_mlflow()
    active = mlflow.active_run()
    chosen = destination.tracking_uri
    here = mlflow.get_tracking_uri()
    if active is not None and chosen in (None, here) and destination.run_id in (None, active.info.run_id):
        return Place(here, run_id=active.info.run_id, active=True)
    told = None if destination.experiment else os.environ.get("MLFLOW_EXPERIMENT_ID")  # in the store that is set
    place = Place(chosen or here, experiment_id=told if chosen is None else None)
    if chosen is None and not mlflow.is_tracking_uri_set() and told is None:
        place = default_store(Path.cwd())
    return replace(place, run_id=destination.run_id, experiment=destination.name)


def run_of_token(uri: str, token: str) -> str | None:
    """The run in a store that bears a token, whatever its experiment; None if there is none."""
    mlflow = import_mlflow()
    with prepared(uri):
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`{_TOKEN_TAG}` = '{token}'", max_results=1) if experiments else []
    return str(found[0].info.run_id) if found else None


def run_store(experiment: str | None, name: str, *, token: str, tracking_uri: str | None = None) -> RunStore:
    """A run of one's own, which is made or continued once it is opened; to be written to by its id.

    Args:
        experiment: Made if there is none; None as `MLflowTracking`.
        name: Of a new run.
        token: Names the run for ever; one that bears it already is continued.
        tracking_uri: The store or server; None takes what `MLflowTracking` would.

    Raises:
        MissingExtraError: MLflow is not installed.
    """
    destination = Destination(experiment=experiment, tracking_uri=tracking_uri)
    place = replace(locate(destination), run_id=None, active=False)
    return RunStore(place, destination, name, time.time_ns() // 1_000_000, token)


class RunStore:
    """One MLflow run.

    Args:
        place: Where it is.
        destination: What the user asked for.
        run_name: Name of a new run, if the user gave none.
        started: Start of a new run, in milliseconds since 1970.
        token: Names the run for ever; one that bears it already is continued.
    """

    def __init__(
        self, place: Place, destination: Destination, run_name: str, started: int, token: str | None = None
    ) -> None:
        self.place = place
        self.run_id: str | None = place.run_id
        self.experiment_id: str | None = None
        self.model_id: str | None = None
        """The model that was recorded as the run's outcome, if one was."""
        self.is_ours = not place.active
        self.about = ""
        """What it is the run of, where there are several."""
        self.committed = 0
        """Last step that an earlier process recorded in this run; 0 for none."""
        self._destination, self._run_name, self._started = destination, run_name, started
        self._token = token or uuid.uuid4().hex
        self._client: MlflowClient | None = None
        self._tables: list[dict[str, str]] | None = None

    def open(self, tags: Mapping[str, str]) -> None:
        """Find or create the experiment and the run."""
        self.connect()
        tags = {**tags, **self._destination.tags}
        if self.place.run_id is None:
            self._create(tags)
            return
        run = self.client.get_run(self.place.run_id)
        self.experiment_id = run.info.experiment_id
        if self.place.active and run.data.tags.get(STATE_TAG) not in {None, "running"}:
            # A run holds one compile: the next one within the same active run becomes its child.
            self._create({**tags, "mlflow.parentRunId": run.info.run_id})
            return
        self._continue(run, tags)

    @property
    def client(self) -> MlflowClient:
        """The connected client."""
        if self._client is None:
            raise ConnectionError("the MLflow store has not been reached yet")
        return self._client

    def join(self) -> None:
        """Write to a run that is over, which stays over.

        Raises:
            MlflowException: There is none of that id.
        """
        self.connect()
        self.experiment_id = self.client.get_run(self.known_id()).info.experiment_id

    def check(self) -> None:
        """Find the experiment or the run; raises whatever the store raises, and makes neither.

        Raises:
            SettingsError: The experiment was deleted.
        """
        self.connect()
        if self.place.run_id is not None:
            self.ping()
        else:
            self._found_experiment()

    def ping(self) -> None:
        """Read the run; raises whatever the store raises if it cannot be reached."""
        self.client.get_run(self.known_id())

    def put_params(self, params: Mapping[str, object]) -> None:
        """Record parameters. One that this run has with another value is recorded as `tfgrpo.<name>` as well."""
        known = self.client.get_run(self.known_id()).data.params
        texts = {name: str(value) for name, value in params.items()}
        names = {name: name if known.get(name, text) == text else f"tfgrpo.{name}" for name, text in texts.items()}
        from mlflow.entities import Param

        rows = [Param(names[name], text) for name, text in texts.items() if names[name] not in known]
        for start in range(0, len(rows), _BATCH):
            self.client.log_batch(self.known_id(), params=rows[start : start + _BATCH])

    def put_metrics(self, metrics: Mapping[str, float], *, step: int, at: int, tags: Mapping[str, str]) -> None:
        """Record metrics, `at` in ms since 1970, and tags; a value that stands at that step already is there once.

        The metrics of one write are all there or none is, whenever a process is killed: the first tells.
        """
        from mlflow.entities import Metric, RunTag

        rows = [Metric(name, float(value), at, step) for name, value in metrics.items()]
        if rows and self._standing(rows[0].key, step):
            rows = [row for row in rows if row.value not in self._standing(row.key, step)]
        self.client.log_batch(self.known_id(), metrics=rows, tags=[RunTag(*tag) for tag in tags.items()])

    def _standing(self, name: str, step: int) -> list[float]:
        """Values of a metric that the run has at a step."""
        return [point.value for point in self.client.get_metric_history(self.known_id(), name) if point.step == step]

    def put_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.known_id(), tags=[RunTag(*tag) for tag in tags.items()])

    def put_text(self, path: str, text: str) -> None:
        """Record a text file."""
        self.client.log_text(self.known_id(), text, path)

    def put_figure(self, path: str, figure: Figure) -> None:
        """Record a figure."""
        self.client.log_figure(self.known_id(), figure, path)

    def put_table(self, path: str, table: Mapping[str, Sequence[object]]) -> None:
        """Record a table (column name to cells) as `MlflowClient.log_table` would, but replacing what is there.

        `log_table` appends, so that a write whose answer was lost would be there twice.
        """
        rows = [list(row) for row in zip(*table.values(), strict=True)]
        self.put_text(path, json.dumps({"columns": list(table), "data": rows}, ensure_ascii=False))
        entry = {"path": path, "type": "table"}
        tables = [t for t in self._listed_tables() if t != entry] + [entry]
        while len(text := json.dumps(tables)) > _TAG_ROOM:
            tables.pop(0)  # the oldest table is shown as JSON from then on
        self.client.set_tag(self.known_id(), _TABLES_TAG, text)
        self._tables = tables

    def _listed_tables(self) -> list[dict[str, str]]:
        """As the run has them; read once if it is ours, as nobody else adds to them then."""
        if self._tables is None or not self.is_ours:
            self._tables = json.loads(self.client.get_run(self.known_id()).data.tags.get(_TABLES_TAG, "[]"))
        return self._tables

    def put_datasets(self, datasets: Sequence[DatasetFacts]) -> None:
        """Record which data the run used."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = []
        for data in datasets:
            spec = [{"type": "string", "name": name, "required": False} for name in data.columns]
            profile = {"num_rows": data.rows, "num_elements": data.rows * len(data.columns)}
            source = {"tags": {"artifact": f"data/{data.name}.json"}}
            texts = [json.dumps(value) for value in (source, {"mlflow_colspec": spec}, profile)]
            dataset = Dataset(data.name, data.digest, "code", *texts)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)]))
        self.client.log_inputs(self.known_id(), datasets=inputs)

    def complete(self, note: str, at: int) -> None:
        """End the run as one that did all it was to do, with a note that its page shows."""
        self.put_tags({STATE_TAG: "done", "mlflow.note.content": note})
        self.end("FINISHED", at)

    def end(self, status: str, at: int) -> None:
        """End the run, unless it is the caller's to end."""
        if self.is_ours:
            self.client.set_terminated(self.known_id(), status, at)

    def known_id(self) -> str:
        """Its id; raises `ConnectionError` before it was opened."""
        if self.run_id is None:
            raise ConnectionError("the MLflow run has not been started yet")
        return self.run_id

    def connect(self) -> None:
        """Make the client, if there is none yet; it asks nothing of a server."""
        if self._client is None:
            mlflow = import_mlflow()
            with prepared(self.place.uri):
                self._client = mlflow.MlflowClient(tracking_uri=self.place.uri)

    def _create(self, tags: Mapping[str, str]) -> None:
        if self.experiment_id is None:
            self.experiment_id = self._experiment()
        # A run that is there already was made by a try whose answer was lost, or by a process that was killed.
        mine = f"tags.`{_TOKEN_TAG}` = '{self._token}'"
        found = self.client.search_runs([self.experiment_id], mine, max_results=1)
        named = self._destination.run_name or self._run_name
        new = {**tags, _TOKEN_TAG: self._token, STATE_TAG: "running"}
        made = found or [self.client.create_run(self.experiment_id, self._started, new, named)]
        self.run_id, self.is_ours = made[0].info.run_id, True
        if found:
            self._continue(found[0], tags)

    def _continue(self, run: Run, tags: Mapping[str, str]) -> None:
        points = self.client.get_metric_history(run.info.run_id, LAST_OF_STEP)
        self.committed = max((point.step for point in points), default=0)
        if self.is_ours:
            self.client.update_run(run.info.run_id, status="RUNNING")
        mine = {name: value for name, value in tags.items() if name not in run.data.tags}
        self.put_tags({**mine, **self._destination.tags, STATE_TAG: "running"})

    def _experiment(self) -> str:
        found = self._found_experiment()
        if found is not None:
            return str(found.experiment_id)
        made = self.client.create_experiment(self.place.experiment, artifact_location=self.place.artifact_location)
        return str(made)

    def _found_experiment(self) -> Experiment | None:
        told, name = self.place.experiment_id, self.place.experiment
        found = self.client.get_experiment(told) if told else self.client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise SettingsError(
                f"the MLflow experiment {found.name!r} was deleted, so nothing can be recorded in it; restore it "
                f"(`MLFLOW_TRACKING_URI={self.place.uri} mlflow experiments restore -x {found.experiment_id}`), or "
                "name another"
            )
        return found
