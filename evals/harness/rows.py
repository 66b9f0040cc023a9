"""One line of a table under one seed: what it is, what came of it, and how both are kept on disk."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from dspy.teleprompt import Teleprompter
from pydantic import TypeAdapter, ValidationError

from evals.harness.tasks import Data, Task
from optimizers.registry import make_optimizer
from tfgrpo_dspy import Estimate, Settings, Usage
from tfgrpo_dspy.kit import fingerprint, identity_of, write_atomically
from tfgrpo_dspy.statistics import Rewards

Maker = Callable[..., Teleprompter]
"""`make(name, metric, seed, calls=...)`, as `optimizers.registry.make_optimizer`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A (model, program, optimizer) triple under one seed: trained once, evaluated once.

    Model and program are the task's.
    """

    task: Task
    optimizer: str
    seed: int
    calls: int | None = None
    """LM calls that the optimizer may take to learn; None leaves it its own settings."""
    make: Maker = make_optimizer
    """Makes the optimizer of that name; a recipe may bring one of its own."""
    train: int | None = None
    """Only so many training examples; None for all."""
    test: int | None = None
    """Only so many test questions; None for all."""
    temperature: float = 0.7
    """Of the rollouts of the evaluation."""

    @property
    def name(self) -> str:
        """As a person would call it."""
        return f"{self.optimizer}, seed {self.seed}"

    @property
    def line(self) -> tuple[str, str, str]:
        """Model, program, optimizer: the line of the table that the row belongs to."""
        return self.task.model, self.task.program, self.optimizer

    @cached_property
    def data(self) -> Data:
        """The examples of this seed."""
        return self.task.data(self.seed).first(self.train, self.test)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the outcome, by name, of JSON types.

        The code that an optimizer calls is not seen, only its name, its settings and the versions of the packages.
        """
        data, task = self.data, self.task
        lms = {"policy": [task.lm(self.seed)]}
        of_training = identity_of(Settings(), task.student(), task.metric, data.train, data.val or None, lms)
        of_test = identity_of(Settings(), task.student(), task.metric, data.test, None, lms)
        chosen = {name: of_training[name] for name in ("student", "metric", "lms", "prompts", "trainset", "valset")}
        return {
            **chosen,
            "testset": of_test["trainset"],
            "task": task.name,
            "model": task.model,
            "program": task.program,
            "optimizer": self.optimizer,
            "calls": self.calls,
            "seed": self.seed,
            "k": task.k,
            "temperature": self.temperature,
            "versions": {name: version(name) for name in ("tfgrpo-dspy", "dspy")},
        }

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that stand for `identity`."""
        return fingerprint(json.dumps(self.identity, sort_keys=True))

    def folder(self, out: Path) -> Path:
        """Where the row keeps its files."""
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", self.optimizer)
        return out / "rows" / f"{name}-seed{self.seed}-{self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Took:
    """What a phase of a row took."""

    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    """Wall-clock time."""

    def __add__(self, other: Took) -> Took:
        return Took(self.usage + other.usage, self.seconds + other.seconds)


@dataclass(frozen=True, slots=True)
class Question:
    """The rollouts of one test question."""

    rewards: tuple[float, ...]
    """Of the rollouts that took place; fewer than k where some were lost."""
    tool_calls: tuple[int, ...] = ()
    """Of the same rollouts."""
    failed: int = 0
    """Rollouts among them that the program failed, scored with the failure score: not the same as a wrong answer."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Rollouts that did not happen, by cause; never scored."""
    errors: tuple[str, ...] = ()
    """The first failure and the first loss, in words."""
    answers: tuple[str, ...] = ()
    """What the program said, shortened."""
    took: Took = field(default_factory=Took)
    """Its share of the evaluation."""


@dataclass(frozen=True, slots=True)
class Point:
    """A step of a learning curve."""

    step: int
    reward: Estimate | None
    """On the training batch, with what had been learned before the step."""
    size: int
    """Entries of the library after it."""
    tool_calls: float
    """Per rollout."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What an optimizer put into the program, for a person to read."""

    kind: Literal["nothing", "library", "prompt"] = "nothing"
    parts: tuple[tuple[str, str], ...] = ()
    """Heading and text: an id and an experience, or a predictor and its new instructions or demonstrations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """A row that was run."""

    fingerprint: str
    model: str
    program: str
    optimizer: str
    seed: int
    error: str | None = None
    """Why there is no score; None when there is one."""
    training: Took = field(default_factory=Took)
    resumed: bool = False
    """Whether training was taken up after a kill: `training.seconds` then is that of the last part."""
    learned: Learned = field(default_factory=Learned)
    curve: tuple[Point, ...] = ()
    unrecorded: tuple[str, ...] = ()
    """What tracking could not take."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    """In the order of the test set; kept in a file of their own."""

    @property
    def line(self) -> tuple[str, str, str]:
        """Model, program, optimizer."""
        return self.model, self.program, self.optimizer

    @property
    def rewards(self) -> Rewards:
        """One row per question."""
        return [question.rewards for question in self.questions]

    @property
    def evaluation(self) -> Took:
        """Of all questions together."""
        return sum((question.took for question in self.questions), Took())

    @property
    def failed(self) -> int:
        """Rollouts that the program failed."""
        return sum(question.failed for question in self.questions)

    @property
    def lost(self) -> Counter[str]:
        """Lost rollouts by cause."""
        return sum((Counter(question.lost) for question in self.questions), Counter())


ROW, QUESTIONS, AGAIN, PROGRAM, LIBRARY = "row.json", "rollouts.jsonl", "again.jsonl", "program.json", "library.json"
SCORING = "scoring"
"""Folder of what an evaluation under way has made."""
_RESULT, _QUESTION = TypeAdapter(RowResult), TypeAdapter(Question)


def step_library(folder: Path, step: int) -> Path:
    """Where a row keeps the library as it was after a step of its training, from 1."""
    return folder / "steps" / f"{step}.json"


def write_row(result: RowResult, folder: Path) -> None:
    """Write `row.json`, which makes the row finished (or failed); its questions are on disk already."""
    document = _RESULT.dump_python(result, mode="json", exclude={"questions"})
    write_atomically(json.dumps(document, indent=2, ensure_ascii=False) + "\n", folder / ROW)


def read_row(folder: Path) -> RowResult | None:
    """A finished row; None if there is none, or it failed, or its file is of an older version of this package."""
    try:
        result = _RESULT.validate_json((folder / ROW).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return None if result.error else replace(result, questions=tuple(read_questions(folder / QUESTIONS)))


def write_questions(questions: Sequence[Question], path: Path) -> None:
    """Write all questions that are finished."""
    write_atomically("".join(f"{_QUESTION.dump_json(question).decode()}\n" for question in questions), path)


def read_questions(path: Path) -> list[Question]:
    """The finished questions of a file, up to one that is damaged: those from there on are scored again."""
    questions: list[Question] = []
    with suppress(FileNotFoundError, ValidationError):
        questions.extend(_QUESTION.validate_json(line) for line in path.read_bytes().splitlines())
    return questions
