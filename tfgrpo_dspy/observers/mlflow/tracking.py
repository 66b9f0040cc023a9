"""MLflow as an observer: records what a run announces, and never stops or slows it for long."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.looks.look import call_text
from tfgrpo_dspy.observers.mlflow.database import bounded_waiting, why_for_good
from tfgrpo_dspy.observers.mlflow.heldout import heldout_writes
from tfgrpo_dspy.observers.mlflow.links import Links, links_to
from tfgrpo_dspy.observers.mlflow.prompts import prompt_name
from tfgrpo_dspy.observers.mlflow.records import Entry, Records, now
from tfgrpo_dspy.observers.mlflow.store import Destination, RunStore, import_mlflow, locate
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.records.events import EpochFinished, Event, RunFinished, RunStarted, StepFinished, StepStarted
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.text import shorten

logger = logging.getLogger(__name__)

_SLOW = 3.0
"""Seconds after which a failure means that the store is not there."""
_PATIENCE = 10.0
"""An absent store is asked again after this many times the time that it took to find it absent, and at the end."""


class MLflowTracking:
    """Records a run to MLflow: parameters, metrics, tables, the library after each epoch, a learning curve.

    Each epoch's library is a version of one prompt in the Prompt Registry as well, where versions can be compared; the
    alias `best` is the one that the run returned.

    One MLflow run per compile: the active run of the calling thread if there is one (it stays open, and a second
    compile within it becomes its child), else a new one. The store is the one you have chosen
    (`mlflow.set_tracking_uri`, `MLFLOW_TRACKING_URI`), else `mlruns/mlflow.db` below the current folder.

    When MLflow fails, the run goes on: what could not be written is kept and tried again, in order, at the next step
    and at the end. A server has ten seconds to answer, unless `MLFLOW_HTTP_REQUEST_TIMEOUT` says otherwise. Keys,
    headers and endpoints of LMs are never written.

    Example:
        >>> tracking = MLflowTracking("algebra")  # doctest: +SKIP
        >>> TrainingFreeGRPO(metric, tracking=tracking).compile(program, trainset)  # doctest: +SKIP
        >>> tracking.links("http://127.0.0.1:5000").run  # doctest: +SKIP

    Args:
        experiment: Name of the experiment; made if there is none. An active run or `run_id` brings its own. None takes
            the one of `mlflow.set_experiment` or `MLFLOW_EXPERIMENT_NAME`, else `tfgrpo`.
        tracking_uri: The store or server; None as described above.
        run_name: Name of a new run; None says epochs, group size, seed, data, program and LM.
        run_id: An existing run to continue: steps that it holds are not written again.
        tags: Further tags of the run.
        prompt: Name in the Prompt Registry; None makes one from experiment and program.
        log_model: Record the compiled program as a model too, which `mlflow models serve` can serve.
        traces: Groups per step that the step's trace shows, with their rollouts, summaries and extraction, >= 0; 0
            records no trace. A step has one trace, made when it is over; none while MLflow's tracing is off.

    Raises:
        MissingExtraError: MLflow is not installed.
        SettingsError: The experiment has no name, or `traces` is negative.
    """

    def __init__(  # noqa: PLR0913 - flat keywords, as DSPy users expect
        self,
        experiment: str | None = None,
        *,
        tracking_uri: str | None = None,
        run_name: str | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        prompt: str | None = None,
        log_model: bool = False,
        traces: int = 2,
    ) -> None:
        if experiment is not None and not experiment.strip():
            raise SettingsError(f"experiment must be the name of an MLflow experiment, got {experiment!r}")
        if traces < 0:
            raise SettingsError(f"traces must be 0 or more groups per step, got {traces}")
        import_mlflow()
        own_tags = {str(name): str(value) for name, value in (tags or {}).items()}
        self._destination = Destination(
            experiment=experiment, tracking_uri=tracking_uri, run_id=run_id, run_name=run_name, tags=own_tags
        )
        self._prompt, self._log_model, self._traces = prompt, log_model, traces
        self._store: RunStore | None = None
        self._records: Records | None = None
        self._due: list[Entry] = []
        self._reasons: dict[str, str] = {}
        self._given_up: list[str] = []
        self._not_before = 0.0

    def __repr__(self) -> str:
        """Experiment, and the run once it was started."""
        return call_text("MLflowTracking", {"experiment": self._destination.name, "run_id": self.run_id})

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None before it was started."""
        return self._store.run_id if self._store else self._destination.run_id

    @property
    def experiment_id(self) -> str | None:
        """Its experiment; None before the store was reached."""
        return self._store.experiment_id if self._store else None

    @property
    def model_uri(self) -> str | None:
        """The compiled program as MLflow loads and serves it; None before it was recorded, or without `log_model`."""
        return f"models:/{self._store.model_id}" if self._store and self._store.model_id else None

    @property
    def store_uri(self) -> str | None:
        """The store in use; None before the first run unless `tracking_uri` was given."""
        return self._store.place.uri if self._store else self._destination.tracking_uri

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What is not in the store, in order, each with the reason of its last failure; empty when all is well."""
        due = [f"{e.description}: {self._reasons.get(e.description, 'not tried yet')}" for e in self._due]
        return (*self._given_up, *due)

    def check(self) -> None:
        """Find out whether a run could be recorded, before it is paid for; a store that is away for now may come back.

        Raises:
            SettingsError: It could not, now or later; the message says how to mend that.
        """
        place = locate(self._destination)
        try:
            with bounded_waiting():
                RunStore(place, self._destination, "", now()).check()
        except SettingsError:
            raise
        except Exception as error:
            if (said := why_for_good(error, place.uri)) is not None:
                raise SettingsError(f"{safe(said)}; nothing was paid, and `tracking=False` records nothing") from error

    def links(self, base_url: str) -> Links:
        """Pages of this run in an MLflow UI.

        Args:
            base_url: Address of the UI, e.g. `http://127.0.0.1:5000`.

        Raises:
            SettingsError: No run has been recorded yet.
        """
        if self.experiment_id is None:
            raise SettingsError("there is nothing to link to: no run has been recorded yet")
        return links_to(base_url, self.experiment_id, self.run_id)

    def record_heldout(self, evaluations: Mapping[str, Evaluation], gain: Comparison | None = None) -> bool:
        """Add how programs did on held-out questions to the run, also to one of an earlier process, named by `run_id`.

        Args:
            evaluations: By the programs' names: `bare`, `learned`.
            gain: Of the learned one over the bare one, if both were evaluated.

        Returns:
            Whether everything is recorded; `unrecorded` says what is not.

        Raises:
            SettingsError: There is no run yet, and none was named.
        """
        if self._store is None:
            if self._destination.run_id is None:
                raise SettingsError("there is no run to add held-out scores to: compile first, or name a `run_id`")
            self._store = RunStore(locate(self._destination), self._destination, "", now())
            self._due.append(Entry("the run itself", RunStore.join))
        hide = self._records.safe if self._records is not None else safe
        writes = heldout_writes(evaluations, gain, hide, now())
        self._due.extend(Entry(description, write) for description, write in writes)
        if self._records is not None and gain is not None:
            self._due.extend(self._records.retell(gain))
        return self.retry()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self._begin(event)
        elif self._records is not None and isinstance(event, StepStarted | StepFinished | EpochFinished | RunFinished):
            self._due.extend(_entries(self._records, event))
            if isinstance(event, RunFinished) or time.monotonic() >= self._not_before:
                self.retry()
        if isinstance(event, RunFinished) and self.unrecorded:
            logger.warning("MLflow has no record of: %s", "; ".join(self.unrecorded))

    def retry(self) -> bool:
        """Write what is due, in order; also for use after a run, when the store is back.

        Returns:
            Whether everything is recorded now.
        """
        if self._store is None:
            return not self.unrecorded
        left: list[Entry] = []
        reachable, started = True, time.monotonic()
        with bounded_waiting():
            for entry in self._due:
                asked = time.monotonic()
                if not reachable or not self._wrote(entry, self._store):
                    left.append(entry)
                    reachable = reachable and self._is_there(self._store, time.monotonic() - asked)
        self._due, now = left, time.monotonic()
        self._not_before = now if reachable else now + _PATIENCE * (now - started)
        return not self.unrecorded

    def _is_there(self, store: RunStore, waited: float) -> bool:
        """After a failed write: a refused one must not hold up the others, a dead store must not be asked for them."""
        return waited < _SLOW and self._wrote(Entry("", RunStore.ping), store)

    def _begin(self, event: RunStarted) -> None:
        self._given_up = list(self.unrecorded)
        prompt = self._prompt or prompt_name(self._destination.name, type(event.student).__name__)
        self._records = Records(event, prompt, log_model=self._log_model, traces=self._traces)
        self._due = list(self._records.start())
        place = locate(self._destination)
        self._store = RunStore(place, self._destination, self._records.run_name, self._records.started, event.token)
        if not self.retry():
            logger.warning("MLflow does not record now, the run goes on and records are kept: %s", self.unrecorded[0])

    def _wrote(self, entry: Entry, store: RunStore) -> bool:
        if entry.step is not None and entry.step <= store.committed:
            return True
        try:
            entry.write(store)
        except Exception as error:  # noqa: BLE001 - whatever a store raises must not stop a paid run
            self._reasons[entry.description] = self._describe(error)
            return False
        return True

    def _describe(self, error: Exception) -> str:
        text = f"{type(error).__name__}: {error}"
        return shorten(self._records.safe(text) if self._records else text, 60)


def _entries(records: Records, event: Event) -> Iterable[Entry]:
    match event:
        case StepFinished(record=record):
            return records.step(record)
        case EpochFinished():
            return records.epoch(event)
        case RunFinished():
            return records.end(event)
        case _:
            return ()
