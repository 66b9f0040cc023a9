"""`tfgrpo audit-reward`: whether a reward can be learned from, on answers in a file or on a program's rollouts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import dspy

from evals.audit.options import AuditOptions
from tfgrpo_dspy import DataError, GroupMetric, MetricError, SettingsError, evaluate
from tfgrpo_dspy.cli import SIMULATED, load_metric, load_program, make_lm, say, section, warn
from tfgrpo_dspy.data import load_examples, read_rows, value_at
from tfgrpo_dspy.kit import count_words, counted, render_values
from tfgrpo_dspy.rewards import Metric, audit_reward, audit_verdicts, score, score_together

_WORDS = {"true": 1.0, "yes": 1.0, "right": 1.0, "false": 0.0, "no": 0.0, "wrong": 0.0}


class _Answer(NamedTuple):
    """An answer to be scored."""

    prediction: dspy.Prediction
    verdict: float | None = None
    """A person's; None leaves it to the verifier."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A question with its answers, which a run would compare."""

    example: dspy.Example
    answers: list[_Answer] = field(default_factory=list)


class _Judged(NamedTuple):
    """An answer as an audit sees it."""

    reward: float
    verdict: float
    length: int


def run_audit(options: AuditOptions) -> None:
    """Carry out the command."""
    reward, verifier = load_metric(options.metric), load_metric(options.against)
    if isinstance(verifier, GroupMetric):
        raise SettingsError(f"--against {options.against} scores answers against each other, so it verifies nothing")
    lm = None if options.lm is None else make_lm(options.lm, api_base=options.api_base, more=options.lm_option or ())
    with dspy.context(lm=lm or dspy.settings.lm), ThreadPoolExecutor(options.threads) as pool:
        questions = _answered(options) if options.data is None else _rolled_out(options)
        tasks = [pool.submit(copy_context().run, _scored, reward, verifier, question) for question in questions]
        found = [task.result() for task in tasks]
    rows = [[judged for judged in row if isinstance(judged, _Judged)] for row in found]
    lost = [reason for row in found for reason in row if isinstance(reason, str)]
    if not any(rows):
        raise DataError(f"no answer could be scored, the first: {lost[0] if lost else 'there is none'}")
    if options.lm == "simulated":
        say(SIMULATED, style="yellow")
    _show(rows, lost, options)


def _answered(options: AuditOptions) -> list[_Question]:
    """The answers of a file, by question."""
    examples = load_examples(options.what, inputs=options.inputs, answer=options.answer, limit=options.limit)
    rows = islice(read_rows(options.what, limit=options.limit), options.limit)
    questions: dict[str, _Question] = {}
    for example, row in zip(examples, rows, strict=True):
        name = next(iter(example.labels().keys()), "answer")
        try:
            given = value_at(row.values, options.given)
            label = None if options.verdict is None else _number(value_at(row.values, options.verdict))
        except LookupError as error:
            raise DataError(
                f"{row.where}: there is no such column ({error}); name that of the answer to be scored by --given, and "
                "that of a person's verdict on it by --verdict"
            ) from error
        asked = questions.setdefault(render_values(dict(example.inputs().items())), _Question(example))
        asked.answers.append(_Answer(dspy.Prediction(**{name: str(given)}), label))
    return list(questions.values())


def _rolled_out(options: AuditOptions) -> list[_Question]:
    """Fresh rollouts of a program, by question; those that were lost or failed are left out."""
    program = load_program(options.what)
    devset = load_examples(str(options.data), inputs=options.inputs, answer=options.answer, limit=options.limit)
    questions = [_Question(example) for example in devset]
    keeping = _Keeping({id(question.example): question for question in questions})
    evaluate(program, devset, keeping, k=options.k, seed=options.seed, num_threads=options.threads)
    return questions


@dataclass(frozen=True)
class _Keeping:
    """Stands for a metric, and keeps what is to be scored."""

    questions: dict[int, _Question]

    def __call__(self, example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        self.questions[id(example)].answers.append(_Answer(prediction))
        return 0.0


def _scored(reward: Metric, verifier: Metric, question: _Question) -> list[_Judged | str]:
    """Each answer of a question, or why it could not be scored."""
    pairs = zip(_rewards(reward, question), question.answers, strict=True)
    return [value if isinstance(value, str) else _judged(value, verifier, question.example, a) for value, a in pairs]


def _rewards(reward: Metric, question: _Question) -> list[float | str]:
    predictions = [answer.prediction for answer in question.answers]
    try:
        if isinstance(reward, GroupMetric):
            return [found.value for found in score_together(reward, question.example, predictions)]
    except MetricError as error:
        return [str(error)] * len(predictions)
    return [_value(reward, question.example, prediction) for prediction in predictions]


def _judged(reward: float, verifier: Metric, example: dspy.Example, answer: _Answer) -> _Judged | str:
    verdict = _value(verifier, example, answer.prediction) if answer.verdict is None else answer.verdict
    if isinstance(verdict, str):
        return verdict
    texts = (value for name, value in answer.prediction.items() if name not in {"reasoning", "trajectory"})
    return _Judged(reward, verdict, sum(count_words(str(text)) for text in texts))


def _value(metric: Metric, example: dspy.Example, prediction: dspy.Prediction) -> float | str:
    try:
        return score(metric, example, prediction).value
    except MetricError as error:
        return str(error)


def _number(verdict: object) -> float:
    text = str(verdict).strip().casefold()
    try:
        return _WORDS[text] if text in _WORDS else float(text)
    except ValueError:
        raise DataError(f"a verdict is a number, or true or false, got {verdict!r}") from None


def _show(rows: list[list[_Judged]], lost: list[str], options: AuditOptions) -> None:
    whose = options.against if options.verdict is None else f"the column {options.verdict}"
    columns = [[[judged[at] for judged in row] for row in rows] for at in range(3)]
    section(f"{options.metric} against {whose}", audit_reward(*columns).to_text().rstrip())
    flat = [judged for row in rows for judged in row]
    if {judged.reward for judged in flat} | {judged.verdict for judged in flat} <= {0.0, 1.0}:
        labels, verdicts = [bool(judged.verdict) for judged in flat], [(bool(judged.reward),) for judged in flat]
        section("As a verdict of right or wrong", audit_verdicts(labels, verdicts, 1).to_text().rstrip())
    if lost:
        warn(f"{counted(len(lost), 'answer')} could not be scored and are left out, the first: {lost[0]}")
