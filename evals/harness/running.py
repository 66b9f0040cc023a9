"""Runs the rows of a comparison: each is compiled under its budget, then scored on k fresh rollouts per question.

Whatever is finished is on disk at once, so the same call goes on after a kill: finished rows are read back, an
evaluation goes on at its next rollout, and a compile of Training-Free GRPO is taken up from its store. A row that
fails is recorded with its error, and the others go on.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dspy

from evals.harness.rows import (
    AGAIN,
    PROGRAM,
    QUESTIONS,
    SCORING,
    Question,
    Row,
    RowResult,
    Took,
    read_questions,
    read_row,
    write_questions,
    write_row,
)
from evals.harness.training import Trained, Unanswered, train
from tfgrpo_dspy import Evaluation, Group, Observer, Usage, evaluate
from tfgrpo_dspy.kit import OutOfBudget, Store, fingerprint, one_line, put_aside, safe, shorten, verdict_of

logger = logging.getLogger(__name__)

_BLOCK = 64
"""Questions that are scored together, whatever the number of threads: what comes out does not depend on it."""
_ANSWER_TOKENS, _ERROR_TOKENS = 100, 120


class Listener:
    """Told of what happens; it can show and record, and changes nothing. All methods do nothing here."""

    def begins(self, row: Row) -> Sequence[Observer]:
        """A row is about to be trained; returns observers for a compile of Training-Free GRPO."""
        return ()

    def advances(self, row: Row, phase: str, done: int, total: int | None) -> None:
        """`training`: LM calls so far and the budget; `evaluation` and `again`: questions."""

    def ends(self, row: Row, result: RowResult, program: dspy.Module | None) -> None:
        """A row is finished or failed; the program is None for one that failed or was finished before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """Where and how rows are run; none of this changes what comes out."""

    out: Path
    num_threads: int = 8
    max_errors: int | None = None
    """Rollouts that a block of an evaluation may lose; None takes DSPy's setting."""
    listeners: Sequence[Listener] = ()
    fresh: bool = False
    """Whether rows that are finished are run again."""


@dataclass(slots=True)
class Programs:
    """The compiled programs of this process, by fingerprint: for scoring one again."""

    made: dict[str, dspy.Module] = field(default_factory=dict)

    def of(self, row: Row, folder: Path) -> dspy.Module | None:
        """The program of a row: of this process, or its saved state read into the student; None if neither fits."""
        if row.fingerprint in self.made:
            return self.made[row.fingerprint]
        student = row.task.student()
        try:
            student.load(folder / PROGRAM)
        except Exception as error:  # noqa: BLE001 - the saved program is of another class, e.g. one that wraps the student
            logger.info("the program of %s cannot be read back: %s", row.name, error)
            return None
        return student


def run_rows(rows: Iterable[Row], harness: Harness, programs: Programs) -> list[RowResult]:
    """Run every row, or read back what is finished.

    Raises:
        LMError, RequestError, Unanswered: No row can succeed; finished ones are on disk.
    """
    return [_run_row(row, harness, programs) for row in rows]


def score_again(row: Row, harness: Harness, programs: Programs) -> list[Question] | None:
    """Score a finished row's program on other rollouts than those it was picked by; None if it cannot be had."""
    folder = row.folder(harness.out)
    done = read_questions(folder / AGAIN)
    if len(done) == len(row.data.test):
        return done
    program = programs.of(row, folder)
    return None if program is None else _score(row, program, harness, "again")


def _run_row(row: Row, harness: Harness, programs: Programs) -> RowResult:
    folder = row.folder(harness.out)
    if harness.fresh:
        put_aside(folder)
    found = read_row(folder)
    if found is not None and len(found.questions) == len(row.data.test):
        _tell(harness, lambda listener: listener.ends(row, found, None))
        return found
    program, result, fatal = None, _blank(row), None
    try:
        trained = _train(row, harness)
        program = programs.made[row.fingerprint] = trained.program
        result = _with(result, trained)
        if not trained.is_same:  # scores that an interrupted run left are of another program
            _forget_scores(folder)
        result = replace(result, questions=tuple(_score(row, program, harness, "evaluation")))
    except (Exception, OutOfBudget) as error:  # noqa: BLE001 - an optimizer, a program or a metric may raise anything
        result, program = replace(result, error=_described(error)), None
        fatal = error if _is_fatal(error) else None
    write_row(result, folder)
    _tell(harness, lambda listener: listener.ends(row, result, program))
    if fatal is not None:
        raise fatal
    return result


def _train(row: Row, harness: Harness) -> Trained:
    def show(calls: int) -> None:
        _tell(harness, lambda listener: listener.advances(row, "training", calls, row.calls))

    observers = [observer for listener in harness.listeners for observer in _asked(listener, row)]
    return train(row, row.folder(harness.out), num_threads=harness.num_threads, observers=observers, show=show)


def _score(row: Row, program: dspy.Module, harness: Harness, purpose: str) -> list[Question]:
    """Score the questions that are not on disk yet, a block at a time; a block's rollouts are kept until it is done."""
    task, test, folder = row.task, row.data.test, row.folder(harness.out)
    path = folder / {"evaluation": QUESTIONS, "again": AGAIN}[purpose]
    questions = read_questions(path)
    while (start := len(questions)) < len(test):
        seed = int(fingerprint(row.fingerprint, purpose, str(start)), 16) % 2**31
        with dspy.context(lm=task.lm(seed)), Store(folder / SCORING, {"row": row.fingerprint}) as store:
            made = evaluate(
                program,
                test[start : start + _BLOCK],
                task.metric,
                k=task.k,
                temperature=row.temperature,
                seed=seed,
                num_threads=harness.num_threads,
                max_errors=harness.max_errors,
                display_progress=False,
                store=store,
            )
            if made.stopped_by is not None:
                raise Unanswered(made.stopped_by)
            questions += [_question(group, made) for group in made.groups]
            write_questions(questions, path)
        done = len(questions)
        _tell(harness, lambda listener, done=done: listener.advances(row, purpose, done, len(test)))
    shutil.rmtree(folder / SCORING, ignore_errors=True)
    return questions


def _forget_scores(folder: Path) -> None:
    for name in (QUESTIONS, AGAIN):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / SCORING, ignore_errors=True)


def _question(group: Group, evaluation: Evaluation) -> Question:
    failures = [r.policy_failure for r in group.scored if r.policy_failure is not None]
    lost = [r.error for r in group.lost]
    usage = sum((r.usage for r in group.rollouts), Usage())
    causes = [r.cause for r in group.lost]
    return Question(
        rewards=group.rewards,
        tool_calls=tuple(r.tool_calls for r in group.scored),
        failed=len(failures),
        lost={cause: causes.count(cause) for cause in dict.fromkeys(causes)},
        errors=tuple(safe(shorten(one_line(text), _ERROR_TOKENS)) for text in (*failures[:1], *lost[:1])),
        answers=tuple(shorten(r.answer, _ANSWER_TOKENS) for r in group.scored),
        took=Took(usage, evaluation.seconds / len(evaluation.groups)),
    )


def _blank(row: Row) -> RowResult:
    model, program, optimizer = row.line
    return RowResult(
        fingerprint=row.fingerprint,
        model=model,
        program=program,
        optimizer=optimizer,
        seed=row.seed,
        identity=row.identity,
    )


def _with(result: RowResult, trained: Trained) -> RowResult:
    return replace(result, training=trained.took, resumed=trained.resumed, learned=trained.learned, curve=trained.curve)


def _is_fatal(error: BaseException) -> bool:
    """Whether no row can succeed: a wrong key, an empty account, a model that is not there, an endpoint or a disk."""
    return isinstance(error, Unanswered) or verdict_of(error).taken_for == "request"


def _described(error: BaseException) -> str:
    return safe(shorten(one_line(f"{type(error).__name__}: {error}"), _ERROR_TOKENS))


def _asked(listener: Listener, row: Row) -> Sequence[Observer]:
    try:
        return listener.begins(row)
    except Exception as error:  # noqa: BLE001 - a listener's mistake must not cost a paid row
        logger.warning("%s failed at the start of %s: %s", type(listener).__name__, row.name, _described(error))
        return ()


def _tell(harness: Harness, what: Callable[[Listener], None]) -> None:
    for listener in harness.listeners:
        try:
            what(listener)
        except Exception as error:  # noqa: BLE001 - as above
            logger.warning("%s failed: %s", type(listener).__name__, _described(error))
