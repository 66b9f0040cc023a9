"""MLflow as an observer: records what a run announces, and never stops or slows it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.looks.look import call_text
from tfgrpo_dspy.observers.about import source_tags
from tfgrpo_dspy.observers.mlflow.database import bounded_waiting, sqlite_path, why_for_good
from tfgrpo_dspy.observers.mlflow.prompts import prompt_name
from tfgrpo_dspy.observers.mlflow.records import Records, Wanted, heldout_writes, now
from tfgrpo_dspy.observers.mlflow.store import Destination, RunStore, import_mlflow, locate, run_of_token
from tfgrpo_dspy.observers.mlflow.ui import Links, links_to
from tfgrpo_dspy.observers.mlflow.waiting import wait_for
from tfgrpo_dspy.observers.mlflow.writer import Entry, Write, Writer
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.records.events import EpochFinished, Event, RolloutFinished, RunFinished, RunStarted, StepFinished
from tfgrpo_dspy.reports.redaction import safe

logger = logging.getLogger(__name__)

_RECORDED = (RolloutFinished, StepFinished, EpochFinished, RunFinished)
_PARTING = 0.15
"""Seconds that an interrupted run waits for its end to be recorded: whoever interrupts wants to go."""
_LAST_WORDS = 2
"""Entries at the end of a run that say how it ended: its totals, and its state."""
_SCORES = "Held-out scores; each question: `tables/heldout.json`."
_SETTINGS = ("_destination", "_prompt", "_log_model", "_traces", "_rollout_traces")


class MLflowTracking:
    """Records a run to MLflow: parameters, metrics, tables, the library after each epoch, a learning curve.

    Each epoch's library is a version of one prompt in the Prompt Registry as well, where versions can be compared; the
    alias `best` is the one that the run returned.

    One MLflow run per compile: the active run of the calling thread if there is one (it stays open, and a second
    compile within it becomes its child), else a new one. The store is the one you have chosen
    (`mlflow.set_tracking_uri`, `MLFLOW_TRACKING_URI`), else `mlruns/mlflow.db` below the current folder.

    A thread of its own writes, in order, so that a slow server costs the run nothing; the end of the run waits for what
    is still to be written, and shows that it does. An interrupt ends that waiting, and nothing else. When MLflow fails,
    the run goes on: what could not be written is kept and tried again, in order, at the next step and at the end. A
    server has ten seconds to answer, unless `MLFLOW_HTTP_REQUEST_TIMEOUT` says otherwise. Keys, headers and endpoints
    of LMs are never written.

    Examples:
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
        rollout_traces: Whether each rollout of training and validation is a trace of its own as well, as it happens,
            with its times, tokens, and reward and feedback as an assessment, for MLflow's filters, evaluation pages
            and datasets.

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
        rollout_traces: bool = False,
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
        self._rollout_traces = rollout_traces
        self._forget()

    def _forget(self) -> None:
        self._store: RunStore | None = None
        self._records: Records | None = None
        self._writer, self._shared = Writer(), False
        self.was_left = False
        """Whether a person interrupted the waiting for what is to be written, and wants to go."""
        self._is_kept = False
        self._past: int | None = None
        self._bounds = ExitStack()

    @classmethod
    def within(cls, store: RunStore, writer: Writer, prompt: str) -> MLflowTracking:
        """One for a run that is part of a larger record, whose writer writes and is waited for by others."""
        made = cls(prompt=prompt)
        made._store, made._writer, made._shared = store, writer, True
        return made

    def __getstate__(self) -> dict[str, object]:
        """Where and what it records: the run under way, its thread and what is due stay in this process."""
        return {name: value for name, value in vars(self).items() if name in _SETTINGS}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._forget()

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
        """What is not in the store, in order: what failed, each with its reason, and how much was not tried yet."""
        return () if self._shared else self._writer.unrecorded

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

        Without a run, they get one of their own.

        Args:
            evaluations: By the programs' names: `bare`, `learned`.
            gain: Of the learned one over the bare one, if both were evaluated.

        Returns:
            Whether everything is recorded; `unrecorded` says what is not.
        """
        hide, ending = safe if self._records is None else self._records.safe, []
        if self._store is None:
            store = RunStore(locate(self._destination), self._destination, "held-out scores", now(), uuid4().hex)
            with suppress(Exception):  # see `_begin`
                store.connect()
            join: Write = RunStore.join
            if self._destination.run_id is None:
                join = partial(RunStore.open, tags=source_tags(Path.cwd()))
                ending = [Entry("the end of the run", partial(RunStore.complete, note=_SCORES, at=now()))]
            self._store = store
            self._writer.put(store, [Entry("the run itself", join)], hide)
        retold = self._records.retell(gain) if self._records is not None and gain is not None else ()
        self._writer.put(self._store, [*heldout_writes(evaluations, gain, hide, now()), *ending, *retold], hide)
        return self.retry()

    def __call__(self, event: Event) -> None:
        """Take one event; only the end of a run waits for what is still to be written."""
        if isinstance(event, RunStarted):
            self._begin(event)
        elif self._records is not None and self._store is not None and isinstance(event, _RECORDED):
            entries, hide = list(_entries(self._records, event)), self._records.safe
            is_urgent = isinstance(event, RunFinished) and isinstance(event.error, KeyboardInterrupt)
            if is_urgent and self._store.run_id is not None:  # how it ended, before what nobody waits for
                entries, last = entries[:-_LAST_WORDS], entries[-_LAST_WORDS:]
                self._writer.put(self._store, last, hide, first=True)
            self._writer.put(self._store, entries, hide)
            if isinstance(event, RunFinished) and not self._shared:
                self._finish(is_urgent=is_urgent)

    def record(self, past: Iterable[tuple[int, Event]]) -> bool:
        """Record a run that is over, as `run.recall.recall` reads it from the run's store, and wait for it.

        A run in the store that has its token is continued, wherever it is: what is there already stays, and what is
        missing is added.

        Args:
            past: Its events, each with its time in milliseconds since 1970.

        Returns:
            Whether everything is recorded; `unrecorded` says what is not.
        """
        try:
            for self._past, event in past:
                if isinstance(event, RunStarted):
                    self._begin(event)
                elif self._records is not None and self._store is not None:
                    self._writer.put(self._store, _entries(self._records, event), self._records.safe)
        finally:
            self._past = None
        return self.retry()

    def retry(self) -> bool:
        """Write what is due, in order, and wait for it; also for use after a run, when the store is back.

        Returns:
            Whether everything is recorded now.
        """
        with bounded_waiting():
            self.was_left = bool(self.unrecorded) and not wait_for(self._writer)
        return not self.unrecorded

    def _begin(self, event: RunStarted) -> None:
        prompt = self._prompt or prompt_name(self._destination.name, type(event.student).__name__)
        self._records = Records(
            event,
            prompt,
            wanted=Wanted(self._log_model, self._traces, self._rollout_traces),
            clock=self._time,
            again=self._past is not None,
        )
        self._is_kept = event.token is not None
        if self._store is None or not self._shared:
            self._store = self._found(event)
        self._writer.put(self._store, self._records.start(), self._records.safe)

    def _found(self, event: RunStarted) -> RunStore:
        """The run that is begun, or continued."""
        assert self._records is not None
        place = locate(self._destination)
        if self._past is not None and event.token is not None and place.run_id is None:
            place = replace(place, run_id=run_of_token(place.uri, event.token))
        store = RunStore(place, self._destination, self._records.run_name, self._records.started, event.token)
        with suppress(Exception):  # what is wrong with it is heard where it is written
            store.connect()  # here, as MLflow looks for Spark: that import and its own hooks lock each other out
        if not sqlite_path(place.uri):  # of a server, an answer is waited for
            self._bounds.close()
            self._bounds.enter_context(bounded_waiting())
        return store

    def _time(self) -> int:
        return self._past or now()

    def _finish(self, *, is_urgent: bool) -> None:
        """Wait for what is still to be written; whoever interrupted a run waits for little."""
        is_over = wait_for(self._writer, _PARTING if is_urgent else None)
        self.was_left = not is_over
        self._bounds.close()
        if not self.unrecorded:
            return
        kept = "`tfgrpo log RUN --to-mlflow` records what the run's store holds" if self._is_kept else ""
        mend = kept or "`retry()` of this `MLflowTracking` tries again while the process lasts"
        why = "MLflow has no record of: %s; %s" if is_over else "MLflow was left before it had recorded: %s; %s"
        logger.warning(why, "; ".join(self.unrecorded), mend)


def _entries(records: Records, event: Event) -> Iterable[Entry]:
    match event:
        case RolloutFinished():
            return records.rollout(event)
        case StepFinished(record=record):
            return records.step(record)
        case EpochFinished():
            return records.epoch(event)
        case RunFinished():
            return records.end(event)
        case _:
            return ()
