"""What is recorded of each event: a list of writes, each of which can be kept and repeated by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dspy

from tfgrpo_dspy.history.file import dump_history
from tfgrpo_dspy.history.history import diff
from tfgrpo_dspy.history.of_run import history_of
from tfgrpo_dspy.library.file import dump_library, to_markdown
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.about import name_of, params_of, redactor_of, source_tags
from tfgrpo_dspy.observers.metrics import (
    LAST_OF_STEP,
    final_metrics,
    heldout_metrics,
    initial_metrics,
    step_metrics,
)
from tfgrpo_dspy.observers.mlflow import tables
from tfgrpo_dspy.observers.mlflow.figures import heldout_figure, learning_curve
from tfgrpo_dspy.observers.mlflow.model import log_model
from tfgrpo_dspy.observers.mlflow.prompts import (
    SCORE,
    SCORED_ON,
    LibraryVersion,
    message_of,
    prompt_name,
    put_version,
    template_of,
)
from tfgrpo_dspy.observers.mlflow.rollouts import put_rollout
from tfgrpo_dspy.observers.mlflow.store import STATE_TAG, RunStore
from tfgrpo_dspy.observers.mlflow.traces import are_wanted, put_trace, step_tree
from tfgrpo_dspy.observers.mlflow.writer import Entry
from tfgrpo_dspy.records.ended import How
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.records.events import EpochFinished, RolloutFinished, RunFinished, RunStarted
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import example_of
from tfgrpo_dspy.records.wording import is_simulated
from tfgrpo_dspy.reports.markdown import SIMULATED_NOTE, render_report
from tfgrpo_dspy.reports.page.render import render_page
from tfgrpo_dspy.reports.provenance import render_provenance
from tfgrpo_dspy.reports.story import Story, Told, story_of
from tfgrpo_dspy.reports.tables import failures_table, fates_table, flags_table, gate_table
from tfgrpo_dspy.text import one_line, shorten


class Wanted(NamedTuple):
    """What is recorded of a run besides what always is."""

    log_model: bool
    """The compiled program, as a model."""
    traces: int
    """Groups per step that are shown in the step's trace; 0 for no traces."""
    rollouts: bool
    """Each rollout of training and validation, as a trace of its own."""


class Records:
    """The records of one run, built from its events.

    Args:
        event: The run's start.
        prompt: The prompt of which each epoch's library is a version.
        wanted: What is recorded only if it is asked for.
        clock: Gives milliseconds since 1970.
        again: Whether a step is recorded once more, all but its metrics, if the run has recorded it already.
    """

    def __init__(
        self,
        event: RunStarted,
        prompt: str | None = None,
        *,
        wanted: Wanted,
        clock: Callable[[], int],
        again: bool = False,
    ) -> None:
        self._clock, self._again = clock, again
        self._event = event
        self._finished: RunFinished | None = None
        self._wanted = wanted
        self._prompt = prompt or prompt_name("library", type(event.student).__name__)
        self._epoch_steps: list[StepRecord] = []
        self._epochs: dict[str, ExperienceLibrary] = {}
        self.started = self._clock()
        self.simulated = is_simulated(event.lms.values())
        self.title = f"Training-Free GRPO of {type(event.student).__name__}"
        self._safe = redactor_of(event.student)
        self._width = max(2, len(str(max(event.steps, event.settings.epochs))))
        self._last_library = event.library

    @property
    def run_name(self) -> str:
        """A name for a new run, which says what it is."""
        return self._safe(name_of(self._event))

    def start(self) -> Iterator[Entry]:
        """What is known before the first call."""
        event = self._event
        source = {"recorded": "afterwards, of the run's store"} if self._again else source_tags(Path.cwd())
        tags = {**source, **({"simulated": "true"} if self.simulated else {})}
        if event.resumed:
            tags["taken_up"] = event.resumed
        params = {
            name: self._safe(value)
            for name, value in params_of(event).items()
            if not (self._again and name.startswith("version."))
        }
        datasets = [("trainset", "training", event.trainset)]
        datasets += [("valset", "validation", event.valset)] if event.valset else []
        yield Entry("the run itself", lambda store: store.open(tags))
        yield Entry("parameters", lambda store: store.put_params(params))
        facts_of = tables.dataset_facts
        yield Entry("datasets", lambda store: store.put_datasets([facts_of(*dataset) for dataset in datasets]))
        for name, _, examples in datasets:
            yield self._table(f"data/{name}.json", partial(tables.examples_table, examples, self._safe))
        yield from self._library("initial", event.library)

    def rollout(self, event: RolloutFinished) -> Iterator[Entry]:
        """A rollout that has just ended; one that an earlier process made was recorded then."""
        examples = {"trainset": self._event.trainset, "valset": self._event.valset}.get(event.dataset)
        if not self._wanted.rollouts or event.is_remembered or not examples or not are_wanted():
            return
        rollout, about, safe = event.rollout, event.dataset, self._safe
        example = examples[int(example_of(rollout.name).removeprefix("e"))]
        write = partial(put_rollout, rollout=rollout, example=example, dataset=about, at=self._clock(), safe=safe)
        yield Entry(f"the trace of {rollout.name}", write, event.step or None)  # step 0 is never marked as recorded

    def step(self, record: StepRecord) -> Iterator[Entry]:
        """What a step did. Its metrics come last: they mark it as recorded."""
        self._epoch_steps.append(record)
        at, number = self._clock(), f"step_{record.step:0{self._width}d}"
        step = None if self._again else record.step
        made: dict[str, Callable[[], tables.Table]] = {
            "operations": partial(tables.operations_table, record, self._safe),
            "rollouts": partial(tables.rollouts_table, record.groups, self._safe),
            "advantages": partial(tables.advantages_table, record, self._safe),
        }
        if record.fates:
            made["candidates"] = partial(tables.of_story, fates_table([record]), self._safe)
        if record.failures:
            made["failures"] = partial(tables.of_story, failures_table(record.failures), self._safe)
        if record.trials:
            made["gate"] = partial(tables.of_story, gate_table([record]), self._safe)
        if record.flags:
            made["flags"] = partial(tables.of_story, flags_table([record]), self._safe)
        if record.effects:
            made["effects"] = partial(tables.effects_table, record.effects, self._safe)
        for name, make in made.items():
            yield self._table(f"tables/{name}_{number}.json", make, step)
        yield self._text("library/latest.json", partial(dump_library, record.library), step)
        if self._wanted.traces and are_wanted():
            yield Entry(f"the trace of step {record.step}", partial(self._put_trace, record, at), step)
        metrics = partial(self._metrics_of, record)
        write = partial(_put_metrics, metrics, record.step, at, _cost_tag(record.usage))
        yield Entry(f"metrics of step {record.step}", write, step)

    def _metrics_of(self, record: StepRecord) -> dict[str, float]:
        """Without the mark for a step that a limit cut short: it is recorded again once it is whole."""
        numbers = step_metrics(record, self._event.settings)
        is_judged = record.validation is not None and record.validation.stopped_by is None
        if not record.is_whole or (self._event.valset and not is_judged):
            del numbers[LAST_OF_STEP]
        return numbers

    def epoch(self, event: EpochFinished) -> Iterator[Entry]:
        """The library after an epoch, and how it differs from the epoch before."""
        number = f"epoch_{event.epoch:0{self._width}d}"
        before, self._last_library = self._last_library, event.library
        yield from self._library(number, event.library)
        yield self._text(
            f"library/{number}.diff.txt", lambda: diff(before, event.library).to_text() or "no difference\n"
        )
        yield self._text("library/latest.json", partial(dump_library, event.library))
        self._epochs[number] = event.library
        judged = self._epoch_steps[-1].validation if self._epoch_steps else None
        message, self._epoch_steps = message_of(event.epoch, self._epoch_steps), []
        yield self._version(number, event.library, message, self._facts(judged))

    def end(self, event: RunFinished) -> Iterator[Entry]:
        """Outcome, totals, learning curve and the library that was returned."""
        at, result = self._clock(), event.result
        yield from self._library("returned", result.library)
        yield from self._best(result)
        yield self._text("library/history.jsonl", lambda: dump_history(history_of(result)))
        yield self._text("library/provenance.md", partial(render_provenance, result))
        if result.initial_validation is not None:
            initial = partial(initial_metrics, result.initial_validation)
            yield Entry("the first validation", partial(_put_metrics, initial, 0, self.started, {}))
        yield Entry("figures/learning_curve.png", partial(self._figure, event))
        story = self._story(event)
        self._finished = event
        yield from self._told(story)
        last = result.steps[-1].step if result.steps else 0
        if self._wanted.log_model and event.program is not None:
            inputs = self._event.trainset[0].inputs().toDict()
            model = {"program": event.program, "name": self._prompt, "lm": dspy.settings.lm, "inputs": inputs}
            yield Entry("the model", partial(_put_model, **model, step=last), is_work=True)
        tags = _cost_tag(event.result.usage)
        ended = event.result.ended
        tags["ended"] = shorten(self.safe(" ".join((f"{ended.sentence}.", *ended.details()))), 200)
        if event.result.best_step is not None:
            tags["best_step"] = str(event.result.best_step)
        if not self._event.settings.objective and (objective := result.library.learned_under.objective):
            tags["objective"] = shorten(self.safe(objective), 200)
        yield Entry("totals", partial(_put_metrics, partial(final_metrics, result), last, at, tags))
        status = _STATUS[result.ended.how]
        yield Entry(f"the end of the run ({status})", partial(self._end, story, status, at))

    def safe(self, text: str) -> str:
        """The text without credentials, on one line."""
        return one_line(self._safe(text))

    def _library(self, name: str, library: ExperienceLibrary) -> Iterator[Entry]:
        yield self._text(f"library/{name}.json", partial(dump_library, library))
        yield self._text(f"library/{name}.md", partial(to_markdown, library))

    def _best(self, result: CompileResult) -> Iterator[Entry]:
        """The alias of what was returned: an epoch's version, or one of its own for a library from within an epoch."""
        if not result.steps:
            return
        same = [moment for moment, library in self._epochs.items() if library.experiences == result.library.experiences]
        step = result.best_step if result.best_step is not None else result.steps[-1].step
        message = f"returned: the library after step {step}" if step else "returned: the library before the first step"
        judged = result.steps[step - 1].validation if step else result.initial_validation
        moment = same[-1] if same else "returned"
        yield self._version(moment, result.library, message, self._facts(judged), is_returned=True)

    def _facts(self, judged: Evaluation | None) -> dict[str, str]:
        """What the registry shows of a version besides its text."""
        facts = {"run": self.run_name, "seed": str(self._event.settings.seed)}
        if judged is None or not self._event.valset:
            return facts
        digest = tables.dataset_facts("valset", "validation", self._event.valset).digest
        return {**facts, SCORE: f"{judged.mean.value:.4f}", SCORED_ON: digest}

    def _version(
        self,
        moment: str,
        library: ExperienceLibrary,
        message: str,
        facts: Mapping[str, str],
        *,
        is_returned: bool = False,
    ) -> Entry:
        text = self._safe(template_of(library))
        version = LibraryVersion(self._prompt, moment, text, message, is_returned, facts)
        return Entry(f"prompt {self._prompt}, {moment}", partial(put_version, version=version))

    def _text(self, path: str, make: Callable[[], str], step: int | None = None) -> Entry:
        return Entry(path, lambda store: store.put_text(path, self._safe(make())), step)

    def _table(self, path: str, make: Callable[[], tables.Table], step: int | None = None) -> Entry:
        return Entry(path, lambda store: store.put_table(path, make()), step)

    def retell(self, gain: Comparison) -> Iterator[Entry]:
        """Summary and page of a run that is over, with whether it helped."""
        if self._finished is not None:
            yield from self._told(self._story(self._finished, gain))

    def _told(self, story: Story) -> Iterator[Entry]:
        yield self._text("summary.md", partial(render_report, story))
        yield self._text("run.html", partial(render_page, story))

    def _story(self, event: RunFinished, gain: Comparison | None = None) -> Story:
        return story_of(event.result, self._event, Told(why=self.safe(event.result.ended.why), gain=gain))

    def _put_trace(self, record: StepRecord, at: int, store: RunStore) -> None:
        tree = step_tree(record, self._wanted.traces, self._event.settings.tolerance)
        tree = replace(tree, name=f"{tree.name} (simulated)") if self.simulated else tree
        put_trace(store, tree=tree, at=at, safe=self._safe)

    def _figure(self, event: RunFinished, store: RunStore) -> None:
        figure = learning_curve(event.result, title=f"{self.title} (simulated LM)" if self.simulated else self.title)
        store.put_figure("figures/learning_curve.png", figure)

    def _end(self, story: Story, status: str, at: int, store: RunStore) -> None:
        tags: dict[str, str] = {STATE_TAG: story.ended.state}
        if store.is_ours:
            said = [SIMULATED_NOTE] if story.simulated else []
            said += [*story.ending, "See `summary.md` and `library/returned.md` among the artifacts."]
            tags["mlflow.note.content"] = "\n\n".join(map(self.safe, said))
        store.put_tags(tags)
        store.end(status, at)


_STATUS: dict[How, str] = {
    "done": "FINISHED",
    "limit": "KILLED",
    "patience": "FINISHED",
    "outage": "KILLED",
    "disk": "KILLED",
    "interrupted": "KILLED",
    "review": "SCHEDULED",
    "error": "FAILED",
}
"""What MLflow calls the end of a run: `SCHEDULED` is one that goes on once somebody decided."""


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _cost_tag(usage: Usage) -> dict[str, str]:
    tags = {"cost": "unknown"} if usage.cost_usd is None else {}
    return {**tags, "tokens": "about: estimated from the texts"} if usage.is_estimate else tags


def _put_model(store: RunStore, **model: Any) -> None:
    store.model_id = log_model(store, **model)


def _put_metrics(
    make: Callable[[], Mapping[str, float]], step: int, at: int, tags: Mapping[str, str], store: RunStore
) -> None:
    store.put_metrics(make(), step=step, at=at, tags=tags)


def heldout_writes(
    evaluations: Mapping[str, Evaluation], gain: Comparison | None, safe: tables.Safe, at: int
) -> Iterator[Entry]:
    """What is recorded of one program or of both, each with what would be missing without it."""
    numbers = heldout_metrics(evaluations, gain.difference if gain is not None else None)
    yield Entry("the held-out scores", lambda store: store.put_metrics(numbers, step=0, at=at, tags={}))
    table, figure = "tables/heldout.json", "figures/heldout.png"
    made = tables.heldout_table(evaluations, safe)
    yield Entry(table, lambda store: store.put_table(table, made))
    yield Entry(figure, lambda store: store.put_figure(figure, heldout_figure(evaluations, gain)))
