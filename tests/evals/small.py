"""Small comparisons: the demo task cut down, optimizers that do one plain thing, and results made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import dspy
from dspy.teleprompt import Teleprompter

from evals.harness.rows import Learned, Point, Question, Row, RowResult, Took
from evals.harness.running import Listener
from evals.harness.tasks import TASKS, Task
from tfgrpo_dspy import Estimate, Usage

ADVICE = "When two discounts follow one another, take the second off the price that the first one left."


def small_task(**changed) -> Task:
    return replace(TASKS["demo"], k=2, **changed)


def small_row(optimizer: str, seed: int = 0, *, task: Task | None = None, **more) -> Row:
    return Row(task=task or small_task(), optimizer=optimizer, seed=seed, train=6, test=6, **more)


class Advising(Teleprompter):
    """Puts one sentence into the instructions, after asking the LM once."""

    def compile(self, student, trainset, **_):
        compiled = student.deepcopy()
        compiled(question=trainset[0].question)
        for predictor in compiled.predictors():
            told = f"{predictor.signature.instructions}\n{ADVICE}"
            predictor.signature = predictor.signature.with_instructions(told)
        return compiled


class Breaking(Teleprompter):
    """Fails, and says a secret."""

    def compile(self, student, trainset, **_):
        raise RuntimeError("the optimizer broke, key sk-abcdefghijklmnop")


def make(name, metric, seed=0, *, calls=None):
    return {"advising": Advising, "breaking": Breaking, "none": Advising}[name]()


class Heard(Listener):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, bool]] = []
        self.phases: set[str] = set()

    def advances(self, row, phase, done, total):
        self.phases.add(phase)

    def ends(self, row, result, program):
        self.ended.append((row.name, program is not None))


def made_result(
    row: Row, rewards: Sequence[Sequence[float]], *, calls: int = 100, error: str | None = None
) -> RowResult:
    model, program, optimizer = row.line
    questions = tuple(
        Question(tuple(map(float, rewarded)), (1,) * len(rewarded), took=Took(Usage(2, 0, 90, 10, None), 0.1))
        for rewarded in rewards
    )
    curve = tuple(Point(step, Estimate(0.2 * step, 0.1, 0.9, 6), 3 * step, 0.5) for step in (1, 2, 3))
    return RowResult(
        fingerprint=row.fingerprint,
        model=model,
        program=program,
        optimizer=optimizer,
        seed=row.seed,
        error=error,
        training=Took(Usage(calls, 0, 1000, 100, 0.5), 2.0),
        learned=Learned("library", (("G0", ADVICE), ("G1", "<script>alert('x')</script> | {{danger}} `code`"))),
        curve=curve if optimizer.startswith("tfgrpo") else (),
        identity=row.identity,
        questions=() if error else questions,
    )


def constant_lm(answer: str) -> dspy.LM:
    """An LM that always answers the same."""
    from dspy.utils import DummyLM

    return DummyLM([{"reasoning": "so", "answer": answer}] * 1000)
