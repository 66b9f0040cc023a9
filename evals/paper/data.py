"""The examples of a domain: from the Hub, from files of a folder, or made by the embedded worlds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import dspy

from evals.datasets.loading import Dataset, load
from evals.datasets.splits import without
from evals.harness.tasks import Data, Examples
from evals.paper.tables import MATH, Domain
from evals.texts import content_hash, draw
from tfgrpo_dspy import DataError
from tfgrpo_dspy.simulated import Split

EMBEDDED = "embedded"
"""As a source: problems that the simulated LM can work on."""
SHOWN = {"aime24": "AIME24", "aime25": "AIME25", "webwalkerqa": "WebWalkerQA", "dapo": "DAPO", "afm-web": "AFM"}

_FILES = {
    "aime24": ("*aime_2024*", "*aime24*"),
    "aime25": ("*aime_2025*", "*aime25*"),
    "dapo": ("*dapo*",),
    "webwalkerqa": ("*webwalker*",),
    "afm-web": ("*afm*",),
}
_SIZES = {"aime24": 30, "aime25": 30, "webwalkerqa": 680}
_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
_WORDS, _CODE = "word problems (embedded)", "problems for code (embedded)"
_POOL, _WEB_POOL, _WEB_TESTS = 200, 24, 30
_HELD_OUT_SEED = 1
"""Draws what is learned on where test questions have to serve; 0 draws the test questions."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """One benchmark's questions."""

    name: str
    shown: str
    """What a report calls the questions that stand there."""
    examples: Examples


@dataclass(frozen=True, slots=True)
class Sets:
    """What a domain is learned and tested on; called with a seed it is a task's data."""

    pool: Examples
    """What training examples are drawn from; no test question is among them."""
    train: int
    """Training examples drawn by the seed; fewer if the pool holds fewer."""
    tests: tuple[TestSet, ...]
    notes: tuple[str, ...] = ()
    """What was decided on the way."""
    warnings: tuple[str, ...] = ()
    """What of it a reader must not overlook; sentences."""

    def __call__(self, seed: int) -> Data:
        """The examples of a seed: other training examples, the same test questions."""
        return Data(draw(self.pool, self.train, seed), tuple(e for test in self.tests for e in test.examples))

    def of(self, name: str) -> slice:
        """Where the questions of a test stand among all."""
        at = [test.name for test in self.tests].index(name)
        start = sum(len(test.examples) for test in self.tests[:at])
        return slice(start, start + len(self.tests[at].examples))


def sets_of(
    domain: Domain,
    source: str | None,
    *,
    limit: int | None = None,
    questions: int | None = None,
    has_direct: bool = False,
) -> Sets:
    """The examples of a domain.

    Args:
        domain: Which.
        source: A folder with files of the benchmarks, `embedded`, or None for the Hub.
        limit: Training examples and questions per test at most, >= 2.
        questions: Questions per test that the table asks for; None for all.
        has_direct: Whether a student without tools is among those tested; decides what is embedded.

    Raises:
        DataError: A file is missing or cannot be read.
    """
    train = min(domain.train, limit or domain.train)
    wanted = min((size for size in (limit, questions) if size is not None), default=None)
    if source == EMBEDDED:
        return _embedded(domain, train, wanted or _POOL, has_direct=has_direct)
    tests = [_loaded(name, source) for name in domain.tests]
    pool, kept, warnings = _pool(domain, source, tests)
    notes = [f"{SHOWN[domain.trained_on]}: {note}" for note in pool.notes]
    chosen = []
    for name, dataset in zip(domain.tests, kept, strict=True):
        examples = _some(dataset.examples, wanted)
        chosen.append(TestSet(name, SHOWN[name], examples))
        notes += [f"{SHOWN[name]}: {len(examples)} of {len(dataset)} questions of {dataset.source}"]
        notes += [f"{SHOWN[name]}: {note}" for note in dataset.notes]
    if len(pool) < train:
        warnings = (*warnings, f"Only {len(pool)} training examples are there, where {train} are to be drawn.")
    return Sets(pool.examples, train, tuple(chosen), tuple(notes), warnings)


def _some(examples: Examples, wanted: int | None) -> Examples:
    return examples if wanted is None or wanted >= len(examples) else draw(examples, wanted, 0)


def nominal_sets(domain: Domain, *, limit: int | None = None, questions: int | None = None) -> Sets:
    """As many examples as a domain has at the Hub, without their texts: for a forecast."""
    bounds = [size for size in (limit, questions) if size is not None]
    tests = tuple(
        TestSet(name, SHOWN[name], _numbered(name, min([_SIZES[name], *bounds]), domain)) for name in domain.tests
    )
    train = min(domain.train, limit or domain.train)
    return Sets(_numbered(domain.trained_on, train, domain), train, tests)


def find_file(name: str, folder: str) -> Path | None:
    """The largest file of a folder that holds a benchmark, by its name; None if there is none.

    Raises:
        DataError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise DataError(f"--data must name a folder or be {EMBEDDED}, got {folder!r}")
    found = [path for pattern in _FILES[name] for path in Path(folder).rglob(pattern) if path.suffix in _SUFFIXES]
    readable = [path for path in found if path.suffix != ".parquet" or find_spec("pyarrow") is not None]
    return max(readable, key=lambda path: (path.stat().st_size, path.name), default=None)


def _loaded(name: str, folder: str | None) -> Dataset:
    if folder is None:
        return _load(name, None)
    path = find_file(name, folder)
    if path is None:
        raise DataError(
            f"{folder} has no file of {SHOWN[name]} (a name like {_FILES[name][0].strip('*')}.jsonl); add one, or "
            "leave --data out to load it from the Hub"
        )
    return _load(name, str(path))


@lru_cache(maxsize=16)  # several tables of one command, and several rows, are of the same files
def _load(name: str, source: str | None) -> Dataset:
    return load(name, source)


def _pool(
    domain: Domain, source: str | None, tests: Sequence[Dataset]
) -> tuple[Dataset, Sequence[Dataset], tuple[str, ...]]:
    """What training examples are drawn from, the test sets that this leaves, and what a reader must know of it."""
    if source is None or find_file(domain.trained_on, source) is not None:
        return without(_loaded(domain.trained_on, source), *tests), tests, ()
    first = tests[0]
    held_out = draw(first.examples, min(domain.train, len(first) // 2), _HELD_OUT_SEED)
    pool = replace(first, examples=held_out, sha256=content_hash(held_out), notes=())
    warning = (
        f"{SHOWN[domain.trained_on]} is not in the folder: {len(held_out)} questions of {SHOWN[domain.tests[0]]} are "
        "learned on instead and left out of the test, which is not the paper's setting."
    )
    return pool, [without(first, pool), *tests[1:]], (warning,)


def _embedded(domain: Domain, train: int, wanted: int, *, has_direct: bool) -> Sets:
    if domain.name == MATH.name:
        pool, tests = _embedded_math(min(wanted, _POOL // 2), has_direct=has_direct)
    else:
        from programs.web_world import web_examples

        pool = tuple(web_examples(_WEB_POOL, 0, "train"))
        asked = tuple(web_examples(min(wanted, _WEB_TESTS), 0, "test"))
        tests = (TestSet(domain.tests[0], "questions on the embedded site", asked),)
    stand_ins = ", ".join(f"{test.shown} for {SHOWN[test.name]}" for test in tests)
    return Sets(pool, train, tests, warnings=(f"Embedded problems stand in for the benchmarks: {stand_ins}.",))


def _embedded_math(wanted: int, *, has_direct: bool) -> tuple[Examples, tuple[TestSet, ...]]:
    """The simulated agent works on problems for code alone, and a student without a tool on word problems alone."""
    from programs.math_world import math_examples

    code = tuple(math_examples(2 * wanted, 0, "test"))
    first, second = MATH.tests
    if not has_direct:
        halves = TestSet(first, _CODE, code[:wanted]), TestSet(second, f"other {_CODE}", code[wanted:])
        return tuple(math_examples(_POOL, 0, "train")), halves
    mixed = (*_word_problems(_POOL, "train"), *math_examples(_POOL, 0, "train"))
    return mixed, (TestSet(first, _WORDS, _word_problems(wanted, "test")), TestSet(second, _CODE, code[:wanted]))


def _numbered(name: str, n: int, domain: Domain) -> Examples:
    field = "problem" if domain.name == MATH.name else "question"
    return tuple(dspy.Example({field: f"{name} {i}", "answer": "0"}).with_inputs(field) for i in range(n))


def _word_problems(n: int, split: Split) -> Examples:
    from tfgrpo_dspy.simulated import make_problems

    made = make_problems(n, 0, split)
    return tuple(dspy.Example(problem=p.question, answer=p.answer).with_inputs("problem") for p in made)
