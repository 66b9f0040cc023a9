"""A comparison in MLflow: one parent run with the table, a nested run per row, each program a logged model.

A thread of its own writes, so that a slow server costs a comparison nothing; its end waits for what is left.
Everything is on disk before it is recorded, so a store that fails costs nothing but the record: what is missing is
said, and the same command given again records it. All writes go by run ids through `MlflowClient`.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.harness.rows import Row, RowResult
from evals.harness.running import Listener
from evals.reports.written import HTML, MARKDOWN, TABLE
from evals.scoring.study import Study
from evals.scoring.table import Line
from tfgrpo_dspy import MissingExtraError, MLflowTracking, Observer, Usage
from tfgrpo_dspy.cli import SIMULATED
from tfgrpo_dspy.kit import fingerprint, safe, shorten
from tfgrpo_dspy.observers.mlflow import (
    Entry,
    RunStore,
    Writer,
    bounded_waiting,
    estimate_metrics,
    heldout_metrics,
    log_model,
    prompt_name,
    run_store,
    source_tags,
    usage_numbers,
    versions,
    wait_for,
)
from tfgrpo_dspy.statistics import mean_at_k, pass_at_k

if TYPE_CHECKING:
    import dspy
    from matplotlib.figure import Figure

_RECORDED_TAG = "mlflow.evals.recorded"  # the UI hides tags of this prefix
_NOTE_ROOM = 7000  # characters of a tag


class Tracking(Listener):
    """Records rows as they end, and the comparison at its end.

    Args:
        experiment: Name of the MLflow experiment; made if there is none.
        rows: All rows of the comparison.
        tracking_uri: The store or server; None takes the one you have chosen, else `mlruns/mlflow.db` here.
        fresh: Whether to begin new runs, rather than to continue those of the same comparison.

    Raises:
        MissingExtraError: MLflow is not installed.
    """

    def __init__(
        self, experiment: str, rows: Sequence[Row], *, tracking_uri: str | None = None, fresh: bool = False
    ) -> None:
        if find_spec("mlflow") is None:
            raise MissingExtraError("tracking needs MLflow: pip install 'tfgrpo-dspy[mlflow]'")
        self.experiment, self._uri = experiment, tracking_uri
        self._token = uuid.uuid4().hex if fresh else fingerprint(*(row.fingerprint for row in rows))
        self._rows = tuple(rows)
        self._parent: RunStore | None = None
        self._stores: dict[str, RunStore] = {}
        self._recorded: list[str] = []
        """Fingerprints of the rows that this comparison has recorded, also in an earlier process."""
        self._writer = Writer()
        self._bounds = ExitStack()

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What is not in the store, each with its reason; empty when all is well."""
        return self._writer.unrecorded

    @property
    def page(self) -> str | None:
        """The rows by score, as a path of the MLflow UI, which hides nested runs in its usual order; None for none."""
        if self._parent is None or self._parent.experiment_id is None:
            return None
        runs = f"/#/experiments/{self._parent.experiment_id}/runs"
        return f"{runs}?orderByKey=metrics.%60brief%2Fheldout_learned%60&orderByAsc=false"

    def begins(self, row: Row) -> Sequence[Observer]:
        """Open the row's run; a compile of Training-Free GRPO then writes to it step by step."""
        name = prompt_name(self.experiment, row.optimizer, f"seed{row.seed}")
        return (MLflowTracking.within(self._store_of(row), self._writer, name),)

    def ends(self, row: Row, result: RowResult, program: dspy.Module | None) -> None:
        """Record what came of the row, unless an earlier run of the same comparison did."""
        write = partial(self._put_row, row, result, program)
        self._writer.put(self._store_of(row), [Entry("the result", write)], safe)

    def finish(self, study: Study, folder: Path, figures: Mapping[str, Figure]) -> None:
        """Record table, reports and figures, end the parent run, and wait for what is still to be written."""
        write = partial(self._put_study, study, folder, figures)
        self._writer.put(self._opened(), [Entry("the comparison", write)], safe)
        wait_for(self._writer)
        self._bounds.close()

    def _store_of(self, row: Row) -> RunStore:
        """The run of a row, to be opened, unless the row was recorded before."""
        if row.fingerprint not in self._stores:
            self._opened()
            token = fingerprint(self._token, row.fingerprint)
            store = run_store(self.experiment, row.name, token=token, tracking_uri=self._uri)
            store.about = row.name
            self._stores[row.fingerprint] = store
            tags = {**source_tags(Path.cwd()), **_tags(row)}
            self._writer.put(store, [Entry("the run", partial(self._open_row, row, tags))], safe)
        return self._stores[row.fingerprint]

    def _open_row(self, row: Row, tags: Mapping[str, str], store: RunStore) -> None:
        parent = self._opened().known_id()
        if row.fingerprint not in self._recorded:
            store.open({**tags, "mlflow.parentRunId": parent})

    def _opened(self) -> RunStore:
        """The run of the comparison, to be opened."""
        if self._parent is None:
            names = list(dict.fromkeys(row.optimizer for row in self._rows))
            title = shorten(f"{len(names)} optimizers: {', '.join(names)}", 40)
            self._parent = run_store(self.experiment, title, token=self._token, tracking_uri=self._uri)
            with suppress(Exception):  # what is wrong with it is heard where it is written
                self._parent.connect()  # here, as MLflow looks for Spark, which no other thread may import meanwhile
            self._bounds.enter_context(bounded_waiting())
            tags = {**source_tags(Path.cwd()), **_simulated(self._rows[0])}
            self._writer.put(self._parent, [Entry("the run of the comparison", partial(self._open, tags))], safe)
        return self._parent

    def _open(self, tags: Mapping[str, str], store: RunStore) -> None:
        store.open(tags)
        known = store.client.get_run(store.known_id()).data.tags
        self._recorded = str(known.get(_RECORDED_TAG, "")).split()

    def _put_row(self, row: Row, result: RowResult, program: dspy.Module | None, store: RunStore) -> None:
        if row.fingerprint in self._recorded:
            return
        at = _now()
        store.put_params(_params(row))
        if result.error is not None:
            store.put_tags({"error": result.error})
            store.end("FAILED", at)
            return
        for point in result.curve:
            reward = estimate_metrics("reward/mean", point.reward)
            numbers = {**reward, "tools/calls_per_rollout": point.tool_calls}
            store.put_metrics(numbers, step=point.step, at=at, tags={})
        store.put_metrics(_metrics(row, result), step=0, at=at, tags={})  # at one step all alike, the UI draws bars
        learned = "\n\n".join(f"{name}\n{text}" for name, text in result.learned.parts)
        store.put_text("learned.txt", safe(learned) or "nothing\n")
        store.put_table("tables/test_questions.json", _questions(row, result))
        if program is not None:
            log_model(store, program, prompt_name(row.task.name, row.optimizer, f"seed{row.seed}"))
        store.complete(_note(row, result), _now())
        recorded = [*self._recorded, row.fingerprint]
        self._opened().put_tags({_RECORDED_TAG: " ".join(recorded)})
        self._recorded = recorded

    def _put_study(self, study: Study, folder: Path, figures: Mapping[str, Figure], store: RunStore) -> None:
        table = study.table
        first = study.rows[0]
        store.put_params(
            {
                "task": first.task.name,
                "optimizers": ", ".join(line.label for line in table.lines),
                "seeds": ", ".join(map(str, table.seeds)),
                "calls": table.calls,
                "k": table.k,
                "questions": table.questions,
                "testset": first.identity["testset"],
                **{f"version.{name}": number for name, number in versions().items()},
            }
        )
        for line in table.lines:
            self._put_gain(line)
        for name in (HTML, MARKDOWN, TABLE):
            store.put_text(name, (folder / name).read_text(encoding="utf-8"))
        for name, figure in figures.items():
            store.put_figure(f"figures/{name}.png", figure)
        note = (folder / MARKDOWN).read_text(encoding="utf-8").partition("## Scores")[0]
        note = re.sub(r"!\[.*\n", "", note)[:_NOTE_ROOM]
        store.complete(note, _now())

    def _put_gain(self, line: Line) -> None:
        """Each row's own gain beside its score, and that of all seeds, which is the same in each row."""
        if line.gain is None:
            return
        shared = heldout_metrics({}, line.gain.difference)
        shared |= {} if line.p_holm is None else {"heldout/p_holm": line.p_holm}
        for row, gain in zip(line.rows, line.gain.by_seed, strict=False):
            store = self._stores.get(row.fingerprint)
            if store is not None and store.run_id is not None:
                store.put_metrics({"heldout/gain_of_seed": gain, **shared}, step=0, at=_now(), tags={})


def _tags(row: Row) -> dict[str, str]:
    return {"optimizer": row.optimizer, "seed": str(row.seed), "model": row.task.model, **_simulated(row)}


def _simulated(row: Row) -> dict[str, str]:
    return {"simulated": "true"} if row.task.simulated else {}


def _params(row: Row) -> dict[str, Any]:
    """What identifies the row, flat; texts are short by themselves."""
    flat: dict[str, Any] = {}
    for name, value in row.identity.items():
        inner = value.items() if isinstance(value, Mapping) else [(None, value)]
        flat |= {f"row.{name}" if key is None else f"row.{name}.{key}": safe(str(item)) for key, item in inner}
    return flat


def _metrics(row: Row, result: RowResult) -> dict[str, float]:
    rollouts = max(sum(len(question.rewards) for question in result.questions), 1)
    tools = sum(sum(question.tool_calls) for question in result.questions)
    whole = [question.rewards for question in result.questions if len(question.rewards) >= row.task.k]
    return {
        "brief/heldout_learned": mean_at_k(result.rewards).value,
        "brief/calls_to_learn": result.training.usage.lm_calls,
        **estimate_metrics("heldout/learned", mean_at_k(result.rewards)),
        **({"heldout/pass_at_k": pass_at_k(whole, row.task.k).value} if whole else {}),
        "heldout/learned_failed": result.failed,
        "heldout/learned_lost": sum(result.lost.values()),
        "heldout/tool_calls": tools / rollouts,
        **_phase("learning", result.training.usage, result.training.seconds),
        **_phase("heldout_rollouts", result.evaluation.usage, result.evaluation.seconds),
    }


def _phase(name: str, usage: Usage, seconds: float) -> dict[str, float]:
    return {f"{name}/{key}": value for key, value in {**usage_numbers(usage), "seconds": seconds}.items()}


def _note(row: Row, result: RowResult) -> str:
    mean = mean_at_k(result.rewards)
    note = f"{SIMULATED}\n\n" if row.task.simulated else ""
    score = f"Mean@{row.task.k} {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] on {mean.n} test questions."
    return f"{note}{score} What was learned: `learned.txt`; each question: `tables/test_questions.json`."


def _questions(row: Row, result: RowResult) -> dict[str, list[Any]]:
    """One row per test question: what was asked, how the rollouts did, what the first one said."""
    asked = ["\n".join(f"{k}: {v}" for k, v in example.inputs().items()) for example in row.data.test]
    found = result.questions
    return {
        "question": [safe(shorten(text, 300)) for text in asked],
        "mean": [round(sum(q.rewards) / len(q.rewards), 4) if q.rewards else None for q in found],
        "rewards": [", ".join(f"{reward:g}" for reward in q.rewards) for q in found],
        "failed": [q.failed for q in found],
        "lost": [sum(q.lost.values()) for q in found],
        "first answer": [safe(q.answers[0]) if q.answers else "" for q in found],
        "error": [" | ".join(q.errors) for q in found],
    }


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
