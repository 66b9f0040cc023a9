"""The benchmarks by name: where each lives, which columns it has, and how its problems and answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.data import ANSWER_COLUMNS, QUESTION_COLUMNS


class Dropped(NamedTuple):
    """What a reader returns for a row that cannot be used."""

    reason: str


def plain(value: Any) -> str | Dropped:
    """A text or a number, without white space around it."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return Dropped("an empty field")
    if isinstance(value, str | int | float):
        return str(value).strip()
    return Dropped(f"a {type(value).__name__} where a text was expected")


_BEFORE = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem."
)
_AFTER = 'Remember to put your answer on its own line after "Answer:".'


def unwrapped(value: Any) -> str | Dropped:
    """A problem of DAPO without the instruction that the raw form has before and after every one of them."""
    text = plain(value)
    return text if isinstance(text, Dropped) else plain(text.removeprefix(_BEFORE).removesuffix(_AFTER))


def after_hashes(value: Any) -> str | Dropped:
    """What follows the last `####` of a worked solution of GSM8K."""
    _, found, answer = str(value).rpartition("####")
    return plain(answer) if found else Dropped("no `####` before the answer")


def only_target(value: Any) -> str | Dropped:
    """The one answer of a list, or of the `target` in a JSON text, the two forms that AFM has."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)["target"]
        except (ValueError, LookupError):
            return Dropped("a ground truth without a `target`")
    answers = value if isinstance(value, list) else [value]
    return plain(answers[0]) if len(answers) == 1 else Dropped("not exactly one answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """How a dataset becomes examples; make one of your own for a dataset that is not in `BENCHMARKS`."""

    name: str
    domain: Literal["math", "web", "any"]
    columns: Mapping[str, tuple[str, ...]]
    """Field of the example to the columns it may stand in, dotted where nested; the first that exists is read."""
    inputs: tuple[str, ...] = ("problem",)
    """Fields that the student is given; `answer` is the label, and all others are for filters and reports."""
    hub: str | None = None
    """Dataset id, `owner/name` or `owner/name:configuration`; None if it has to be named."""
    split: str | None = None
    """Split on the Hub; None for its only one."""
    problem: Callable[[Any], str | Dropped] = plain
    """Reads an input."""
    answer: Callable[[Any], str | Dropped] = plain
    """Reads the answer."""
    sample: int | None = None
    """Rows drawn at random; None for all."""
    remark: str | None = None
    """What every load of it should say."""

    @property
    def others(self) -> tuple[str, ...]:
        """Fields that are neither inputs nor the answer."""
        return tuple(field for field in self.columns if field not in (*self.inputs, "answer"))


_DRAWN = "drawn by our own seed: the paper drew 100 as well, but not necessarily these"

_aime24 = Benchmark(
    name="aime24",
    domain="math",
    hub="HuggingFaceH4/aime_2024",
    split="train",
    columns={"problem": ("problem", "question"), "answer": ("answer",), "id": ("id",)},
)
_dapo = Benchmark(
    name="dapo",
    domain="math",
    hub="BytedTsinghua-SIA/DAPO-Math-17k",
    columns={
        "problem": ("prompt.-1.content", "prompt", "problem"),
        "answer": ("reward_model.ground_truth", "answer", "solution"),
    },
    problem=unwrapped,
)
_web = {"question": ("question", "Question"), "answer": ("answer", "Answer")}
_afm = Benchmark(
    name="afm-web",
    domain="web",
    hub="PersonalAILab/AFM-WebAgent-RL-Dataset",
    columns={
        "question": ("extra_info.question", "question"),
        "answer": ("extra_info.answer", "reward_model.ground_truth", "answer"),
    },
    inputs=("question",),
    answer=only_target,
)

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        _aime24,
        replace(_aime24, name="aime25", hub="yentinglin/aime_2025"),
        _dapo,
        replace(_dapo, name="dapo-100", sample=100, remark=_DRAWN),
        Benchmark(
            name="webwalkerqa",
            domain="web",
            hub="callanwu/WebWalkerQA",
            split="main",
            columns={
                **_web,
                "level": ("info.difficulty_level", "info.Level", "difficulty_level"),
                "type": ("info.type", "type"),
                "lang": ("info.lang", "lang"),
                "domain": ("info.domain", "domain"),
                "root_url": ("root_url",),
            },
            inputs=("question",),
        ),
        _afm,
        replace(_afm, name="afm-100", sample=100, remark=_DRAWN),
        Benchmark(
            name="gsm8k",
            domain="math",
            hub="openai/gsm8k:main",
            split="test",
            columns=_web,
            inputs=("question",),
            answer=after_hashes,
        ),
        Benchmark(
            name="math500",
            domain="math",
            hub="HuggingFaceH4/MATH-500",
            split="test",
            columns={
                "problem": ("problem",),
                "answer": ("answer",),
                "subject": ("subject",),
                "level": ("level",),
                "id": ("unique_id",),
            },
        ),
        Benchmark(
            name="any",
            domain="any",
            columns={
                "question": ("prompt.-1.content", *QUESTION_COLUMNS),
                "answer": ("reward_model.ground_truth", *ANSWER_COLUMNS),
            },
            inputs=("question",),
        ),
    )
}
"""Name to benchmark. `any` is whatever has a question and an answer, or the columns that are named."""


def benchmark_named(name: str | Benchmark, columns: Mapping[str, str] | None = None) -> Benchmark:
    """The benchmark, with columns of a file that calls them otherwise.

    Args:
        name: One of `BENCHMARKS`, or a benchmark of your own.
        columns: Field to column, e.g. `{"problem": "prompt.0.content"}`. With `any` they are all fields there are, and
            the first that is not `answer` is the input.

    Raises:
        SettingsError: There is no such benchmark, or the columns leave it without an input or an answer.
    """
    if isinstance(name, str) and name not in BENCHMARKS:
        raise SettingsError(f"no benchmark is called {name!r}; there are {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name] if isinstance(name, str) else name
    if not columns:
        return benchmark
    named = {field: (path,) for field, path in columns.items()}
    if benchmark.name != "any":
        return replace(benchmark, columns={**benchmark.columns, **named})
    inputs = tuple(field for field in named if field != "answer")[:1]
    if not inputs or "answer" not in named:
        raise SettingsError(f"columns must name an input and the answer, got {', '.join(named)}; add the one missing")
    return replace(benchmark, columns=named, inputs=inputs)


class Known(NamedTuple):
    """A content that was verified, by its hash."""

    hub: str
    """The dataset it stands for."""
    what: str
    is_whole: bool
    """Whether it is all of the dataset, so that another hash is another content."""


KNOWN: Mapping[str, Known] = {
    "21ddf65aa384e4b2444c3cdc0241f2d298baab36f7e2691e7c923e95a7cf5a56": Known(
        "HuggingFaceH4/aime_2024", "all 30 problems, as QwenLM/Qwen2.5-Math has them", True
    ),
    "cd1d6f8a371eeb587dd85cd4ce4915fa44fbff1d0fd498fa3ba003f2560c925b": Known(
        "yentinglin/aime_2025", "all 30 problems, as armenjeddi/mcd has them", True
    ),
    "76676002507e45969d279bfb1b0e83b4c252f3e67697c516d87e6539d4c31a25": Known(
        "BytedTsinghua-SIA/DAPO-Math-17k", "all 17917 rows, as MasterVito/SvS has them, processed", True
    ),
    "eff3eb0ba60696cfc363daf97c6a23e76c7216495b20788cc575e6fc1a9f387a": Known(
        "BytedTsinghua-SIA/DAPO-Math-17k", "the first 1000 rows, as MasterVito/SvS has them, processed", False
    ),
    "308a1c149cae8e25ef5cf346f340a07d4eb272e3baa64cf43d158bf643c84043": Known(
        "BytedTsinghua-SIA/DAPO-Math-17k", "the first 106 rows", False
    ),
    "62234820e5baa4c9ca1457fab5bdd43b298de7155f1e9f00c04308b9fec82759": Known(
        "callanwu/WebWalkerQA", "all 680 questions, as OPPO-PersonalAI/Agent_Foundation_Models has them", True
    ),
    "1b44272c315bc4092cc85288ce87dbb6b93b10e90be8104bf4fff96c6406b58f": Known(
        "openai/gsm8k:main", "the first 100 rows of the test split", False
    ),
    "3ae4afd8f04f0aca5095669739bdb75d8fec127e28bb091e355dae9c059908b2": Known(
        "HuggingFaceH4/MATH-500", "the first 100 rows, as hkust-nlp/simpleRL-reason has them", False
    ),
}
"""`content_hash` of all examples of a source to what is known about it. The Hub's own files were not at hand: these
are copies in public repositories, so another hash from the Hub may well be the better copy. The hash is taken after
cleaning: a change in its rules, `problem_key` among them, asks for this table to be made anew."""
