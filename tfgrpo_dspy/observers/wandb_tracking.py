"""Weights & Biases as an observer: the numbers that MLflow gets, under the same names, and the library by version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.errors import MissingExtraError, SettingsError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.looks.look import call_text
from tfgrpo_dspy.observers.about import name_of, params_of, redactor_of
from tfgrpo_dspy.observers.metrics import final_metrics, initial_metrics, step_metrics
from tfgrpo_dspy.records.events import EpochFinished, Event, RunFinished, RunStarted, StepFinished
from tfgrpo_dspy.records.wording import is_simulated
from tfgrpo_dspy.reports.page.render import render_page
from tfgrpo_dspy.reports.redaction import Redactor
from tfgrpo_dspy.reports.story import Told, story_of
from tfgrpo_dspy.text import fingerprint

if TYPE_CHECKING:
    from wandb import Run


logger = logging.getLogger(__name__)

_TAKEN_UP = "allow"
"""A run that goes on after a kill goes on here too; W&B does so while it is online."""


class WandbTracking:
    """Records a run to Weights & Biases: parameters, the metrics of each step, the library after each epoch, the page.

    One W&B run per compile, in a project of that name; account, entity, server, folder and mode come from W&B's own
    settings (`wandb login`, `WANDB_ENTITY`, `WANDB_MODE=offline`, ...). Libraries are versions of one artifact;
    `best` is the one that was returned. Keys, headers and endpoints of LMs are never written.

    When W&B fails, the run goes on: what could not be written is tried again, in order, at the next event.

    Examples:
        >>> TrainingFreeGRPO(metric, tracking=WandbTracking("algebra")).compile(program, trainset)  # doctest: +SKIP

    Args:
        project: Name of the project; W&B makes it if there is none.
        name: Name of the run; None says epochs, group size, seed, data, program and LM.

    Raises:
        MissingExtraError: wandb is not installed.
        SettingsError: The project has no name.
    """

    def __init__(self, project: str = "tfgrpo", *, name: str | None = None) -> None:
        if not project.strip():
            raise SettingsError(f"project must be the name of a W&B project, got {project!r}")
        _wandb()
        self.project, self.name = project, name
        self.run_id: str | None = None
        """The W&B run; None before it was started."""
        self._run: Run | None = None
        self._started: RunStarted | None = None
        self._due: list[Callable[[], object]] = []
        self._reason, self._safe = "", Redactor()

    def __repr__(self) -> str:
        """Project, and the run once it was started."""
        return call_text("WandbTracking", {"project": self.project, "run_id": self.run_id})

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What W&B did not take; empty when all is well."""
        return (f"W&B took {len(self._due)} of the run's records not: {self._reason}",) if self._due else ()

    def check(self) -> None:
        """Find out whether W&B has an account to record under, before the run is paid for.

        Raises:
            SettingsError: It has none.
        """
        wandb = _wandb()
        is_online = wandb.setup().settings.mode == "online"
        if is_online and not wandb.login(verify=False, prompt=False):
            raise SettingsError(
                "W&B knows no key to record under; nothing was paid: `wandb login`, or set WANDB_API_KEY, or "
                "WANDB_MODE=offline to record into files here"
            )

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self._started, self._run, self._due, self._reason = event, None, [], ""
            self._safe = redactor_of(event.student)
        if (started := self._started) is not None:
            self._due += self._writes(event, started)
        try:
            while self._due:
                self._due[0]()
                del self._due[0]
        except Exception as error:  # noqa: BLE001 - whatever W&B raises must not stop a paid run
            before, self._reason = self._reason, f"{type(error).__name__}: {self._safe(str(error))}"
            if self._reason != before:
                logger.warning("W&B does not record now, the run goes on and records are kept: %s", self._reason)

    def _writes(self, event: Event, started: RunStarted) -> list[Callable[[], object]]:
        match event:
            case RunStarted():
                return [partial(self._begin, event)]
            case StepFinished(record=record):
                return [partial(self._log, step_metrics(record, started.settings), record.step)]
            case EpochFinished(epoch=epoch, library=library):
                return [partial(self._put_library, library, f"epoch-{epoch}")]
            case RunFinished():
                return [partial(self._end, started, event)]
        return []

    def _begin(self, event: RunStarted) -> None:
        safe = self._safe
        self._run = _wandb().init(
            project=self.project,
            name=safe(self.name or name_of(event)),
            config={name: safe(value) for name, value in params_of(event).items()},
            job_type="compile",
            tags=["simulated"] if is_simulated(event.lms.values()) else None,
            id=None if event.token is None else fingerprint(self.project, event.token),
            resume=None if event.token is None else _TAKEN_UP,
            reinit="create_new",
        )
        self.run_id = self._run.id
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        self._here().log({**metrics, "step": step})

    def _put_library(self, library: ExperienceLibrary, alias: str) -> None:
        self._put("library", "experience-library", "library.json", dump_library(library), alias)

    def _end(self, started: RunStarted, event: RunFinished) -> None:
        run, result, safe = self._here(), event.result, self._safe
        if result.initial_validation is not None:
            self._log(initial_metrics(result.initial_validation), 0)
        self._put_library(result.library, "best")
        page = render_page(story_of(result, started, Told(why=safe(result.ended.why))))
        self._put("page", "report", "run.html", page, "latest")
        run.summary.update({**final_metrics(result), "ended": safe(result.ended.sentence)})
        run.finish(exit_code=0 if event.error is None else 1)

    def _put(self, name: str, kind: str, path: str, text: str, alias: str) -> None:
        artifact = _wandb().Artifact(f"{name}-{self.run_id}", type=kind)
        with artifact.new_file(path, mode="w", encoding="utf-8") as file:
            file.write(self._safe(text))
        self._here().log_artifact(artifact, aliases=[alias])

    def _here(self) -> Run:
        if self._run is None:
            raise RuntimeError("there is no W&B run to write to")
        return self._run


def _wandb() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("WandbTracking needs wandb: pip install 'tfgrpo-dspy[wandb]'") from error
    return wandb
