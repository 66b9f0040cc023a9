"""For prompts in MLflow's registry: Training-Free GRPO as an optimizer of `mlflow.genai.optimize_prompts`.

The application that uses the prompts is MLflow's `predict_fn`. Here it is the student: a predictor whose prediction is
one call of MLflow's evaluation function, with the library at the end of the prompts.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dspy

from tfgrpo_dspy.errors import DataError, MissingExtraError, SettingsError
from tfgrpo_dspy.evaluation import evaluate
from tfgrpo_dspy.library.section import find_section
from tfgrpo_dspy.teleprompter import TrainingFreeGRPO

try:
    from mlflow.environment_variables import MLFLOW_GENAI_EVAL_MAX_WORKERS
    from mlflow.genai.optimize import BasePromptOptimizer, PromptOptimizerOutput
    from mlflow.genai.optimize.types import EvaluationResultRecord
except ImportError as missing:
    raise MissingExtraError("this optimizer is MLflow's: pip install 'tfgrpo-dspy[mlflow]'") from missing

Record: TypeAlias = dict[str, Any]
"""One row of MLflow's training data: `inputs`, and `expectations` or `outputs`."""
EvalFn: TypeAlias = Callable[[dict[str, str], list[Record]], list[EvaluationResultRecord]]
"""MLflow's evaluation function: prompt templates by name, and records, to results."""

_BROKE = "Failed to invoke the predict_fn"
"""How MLflow begins the output of an application that raised."""
_TEMPLATING = re.compile(r"(?<=\{)(?=[{%#])|(?<=[}%#])(?=\})")
_ROOT_SPANS = 1


class TrainingFreeGRPOPromptOptimizer(BasePromptOptimizer):
    """Puts a library of experiences at the end of registered prompts, learned from the application's own attempts.

    The application must sample: one that answers a question the same way each time shows no contrast to learn from.

    Args:
        reflection_model: What summarises, compares and updates: a name in MLflow's form (`openai:/gpt-4.1`) or
            DSPy's (`openai/gpt-4.1`), or a `dspy.LM`. The key comes from the environment.
        objective: What the application is meant to do well; None takes the prompts' text.
        prompts: Names of the prompts that get the library; None for all that are optimised.
        holdout: Share of the records, in [0, 1), on which each library is judged and the scores are measured; they are
            not learned from. With 0 all are learned from and the last library is returned.
        **settings: Any keyword of `TrainingFreeGRPO`: `epochs`, `group_size`, `seed`, `budget`, ...

    Raises:
        SettingsError: A value is out of its range.
        MissingExtraError: MLflow is not installed.
    """

    def __init__(
        self,
        reflection_model: str | dspy.BaseLM,
        *,
        objective: str | None = None,
        prompts: Sequence[str] | None = None,
        holdout: float = 0.25,
        **settings: Any,
    ) -> None:
        if not 0 <= holdout < 1:
            raise SettingsError(f"holdout is a share of the records, from 0 up to but not 1, got {holdout!r}")
        self.reflection_lm = _lm(reflection_model)
        self.objective = objective
        self.prompts = prompts
        self.holdout = holdout
        self.settings = settings
        TrainingFreeGRPO(_metric, **settings)  # its complaints come now, not after MLflow has begun

    def optimize(
        self,
        eval_fn: EvalFn,
        train_data: list[Record],
        target_prompts: dict[str, str],
        enable_tracking: bool = True,
    ) -> PromptOptimizerOutput:
        """Learn a library; called by `mlflow.genai.optimize_prompts`.

        With `enable_tracking` the run that MLflow has begun gets all that `MLflowTracking` records, unless the setting
        `tracking` says otherwise. Prompts that are returned as they were have one score, before and after.

        Returns:
            The prompts with the library, or as they were if none did better on the held-out records; and the mean
            scores on these before and after, from fresh attempts.

        Raises:
            DataError: No records, or two with the same inputs that expect different outputs.
            SettingsError: No scorer was given.
            RunStopped: Too many calls of the application failed.
        """
        examples = _examples(train_data)
        if eval_fn(target_prompts, train_data[:1])[0].score is None:
            raise SettingsError("optimize_prompts needs scorers=[...]: without a score no attempt can win")
        kept = round(self.holdout * len(examples))
        train, held_out = examples[: len(examples) - kept], examples[len(examples) - kept :]
        student = Application(eval_fn, train_data, target_prompts, self.prompts)
        threads = self.settings.get("num_threads") or MLFLOW_GENAI_EVAL_MAX_WORKERS.get()
        optimizer = TrainingFreeGRPO(
            _metric,
            reflection_lm=self.reflection_lm,
            objective=self.objective or student.instructions,
            **{"tracking": enable_tracking, **self.settings, "num_threads": threads, "temperature": None},
        )
        with dspy.context(lm=self.reflection_lm), without_import_hooks():
            better = optimizer.compile(student, train, valset=held_out or None)
            prompts = better.candidate()
            judged = [student, *([better] if prompts != target_prompts else [])] if held_out else []
            means = [
                evaluate(p, held_out, _metric, k=1, temperature=None, num_threads=threads).mean.value for p in judged
            ]
        return PromptOptimizerOutput(
            optimized_prompts=prompts,
            initial_eval_score=means[0] if means else None,
            final_eval_score=means[-1] if means else None,
        )


@contextmanager
def without_import_hooks() -> Iterator[None]:
    """Takes MLflow's hooks out of the way of imports, whose modules the application has imported by its first call.

    Each evaluation of MLflow's imports while it holds the lock of its hooks. Any other thread's import takes the
    interpreter's lock first and asks for that one then, so both would wait for ever.
    """
    hooks = [finder for finder in sys.meta_path if type(finder).__module__ == "mlflow.utils.import_hooks"]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in hooks]
    try:
        yield
    finally:
        sys.meta_path[:0] = hooks


class Application(dspy.Predict):
    """The application as a predictor; what it predicts is what MLflow's evaluation function returns for it."""

    def __init__(
        self, eval_fn: EvalFn, records: Sequence[Record], templates: Mapping[str, str], extended: Sequence[str] | None
    ) -> None:
        unknown = sorted(set(extended or ()) - set(templates))
        if unknown:
            raise SettingsError(
                f"prompts names {unknown[0]!r}, but those optimised are: {', '.join(sorted(templates))}"
            )
        self.instructions = "\n\n".join(templates.values())
        super().__init__(dspy.Signature("inputs -> output", "Answer by the application's own prompts."))
        self.shared = _Shared(eval_fn, {_key(record["inputs"]): record for record in records}, dict(templates))
        self.extended = tuple(templates) if extended is None else tuple(extended)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """One call of the application.

        Raises:
            ConnectionError: It raised, so there is no answer to score.
        """
        result = self.shared.evaluate(self.candidate(), self.shared.records[_key(inputs)])
        if isinstance(result.outputs, str) and result.outputs.startswith(_BROKE):
            raise ConnectionError(result.outputs)
        prediction = dspy.Prediction(output=result.outputs, **_steps(result))
        prediction._evaluated = result
        return prediction

    def candidate(self) -> dict[str, str]:
        """The prompts with the library that this program reads."""
        section = _TEMPLATING.sub(" ", find_section(self.signature.instructions))
        templates = self.shared.templates
        return {name: _extend(text, section) if name in self.extended else text for name, text in templates.items()}


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all copies of an application share: MLflow's function, which takes one list at a time."""

    eval_fn: EvalFn
    records: Mapping[str, Record]
    templates: Mapping[str, str]
    _queue: list[_Waiting] = field(default_factory=list)
    _queueing: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self

    def evaluate(self, candidate: dict[str, str], record: Record) -> EvaluationResultRecord:
        """The result for one record; those that wait for the same prompts meanwhile go into one call together."""
        mine = _Waiting(candidate, record)
        with self._queueing:
            self._queue.append(mine)
        with self._turn:
            if not mine.result.done():
                with self._queueing:
                    together = [waiting for waiting in self._queue if waiting.candidate == candidate]
                    self._queue[:] = [waiting for waiting in self._queue if waiting.candidate != candidate]
                self._answer(candidate, together)
        return mine.result.result()

    def _answer(self, candidate: dict[str, str], together: Sequence[_Waiting]) -> None:
        try:
            results = self.eval_fn(candidate, [waiting.record for waiting in together])
        except Exception as error:  # noqa: BLE001 - a scorer may raise anything; each rollout tells of it
            for waiting in together:
                waiting.result.set_exception(error)
            return
        for waiting, result in zip(together, results, strict=True):
            waiting.result.set_result(result)


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A rollout that waits for MLflow's function."""

    candidate: dict[str, str]
    record: Record
    result: Future[EvaluationResultRecord] = field(default_factory=Future)


def _metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
    result: EvaluationResultRecord = prediction._evaluated
    feedback = "\n".join(f"{scorer}: {why}" for scorer, why in (result.rationales or {}).items() if why)
    return dspy.Prediction(score=float(result.score), feedback=feedback)


def _lm(model: str | dspy.BaseLM) -> dspy.BaseLM:
    if isinstance(model, dspy.BaseLM):
        return model
    if not isinstance(model, str) or "/" not in model:
        raise SettingsError(f"reflection_model must be a name like 'openai:/gpt-4.1' or a dspy.LM, got {model!r}")
    return dspy.LM(model.replace(":/", "/", 1))


def _examples(records: Sequence[Record]) -> list[dspy.Example]:
    if not records:
        raise DataError("Training-Free GRPO learns from examples: optimize_prompts needs train_data with records")
    expected: dict[str, Any] = {}
    for number, record in enumerate(records, start=1):
        wanted = _expectations(record)
        if expected.setdefault(_key(record["inputs"]), wanted) != wanted:
            raise DataError(
                f"record {number} of train_data has the inputs of an earlier one and expects something else"
            )
    unique = {_key(record["inputs"]): record for record in records}.values()
    fields = [(one["inputs"], {**one["inputs"], **_expectations(one), **one["inputs"]}) for one in unique]
    return [dspy.Example(values).with_inputs(*inputs) for inputs, values in fields]


def _expectations(record: Record) -> dict[str, Any]:
    return record.get("expectations") or {"expected_response": record.get("outputs")}


def _key(inputs: Mapping[str, Any]) -> str:
    return json.dumps(inputs, sort_keys=True, default=str)


def _steps(result: EvaluationResultRecord) -> dict[str, str]:
    """What the application did on the way, if its trace shows more than that it was called."""
    spans = result.trace.data.spans if result.trace else []
    lines = [f"{span.name}: {span.inputs} -> {span.outputs}" for span in spans[_ROOT_SPANS:]]
    return {"steps": "\n".join(lines)} if lines else {}


def _extend(template: str, section: str) -> str:
    """The template with the section at its end; of a chat template, which is JSON, at the end of its first message."""
    if not section:
        return template
    try:
        messages = json.loads(template)
    except ValueError:
        messages = None
    is_chat = isinstance(messages, list) and messages and all(isinstance(m, dict) and "role" in m for m in messages)
    if not is_chat:
        return f"{template}\n\n{section}"
    first = {**messages[0], "content": f"{messages[0]['content']}\n\n{section}"}
    return json.dumps([first, *messages[1:]])
