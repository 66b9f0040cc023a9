"""Rows become examples: unusable ones are dropped, repeated ones are one, and each decision is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import dspy

from evals.datasets.benchmarks import Benchmark, Dropped
from evals.texts import answer_key, problem_key
from tfgrpo_dspy import DataError
from tfgrpo_dspy.data import Row, columns_of, value_at

UNKNOWN = "unknown"
"""Value of a field other than inputs and answer that a row leaves empty; filters can ask for it."""


class _Record(NamedTuple):
    """A row that can be used; ordered by its texts, so that the choice among repeated ones needs no row order."""

    inputs: tuple[str, ...]
    answer: str
    others: tuple[str, ...]


def clean(rows: Iterable[Row], benchmark: Benchmark, source: str) -> tuple[list[dspy.Example], list[str]]:
    """One example for each problem, and notes of what was dropped or decided; `evals.datasets.load` tells the rules.

    Raises:
        DataError: A column is not there, or no row can be used; `source` is what the message calls them.
    """
    dropped: Counter[str] = Counter()
    records, notes = _distinct(_records(rows, benchmark, dropped))
    if not records:
        found = ", ".join(f"{count} with {reason}" for reason, count in dropped.items()) or "no row at all"
        raise DataError(f"{source}: no usable example ({found}); check that this is {benchmark.name}, or name columns")
    notes += [f"rows dropped for {reason}: {count}" for reason, count in sorted(dropped.items())]
    names = (*benchmark.inputs, "answer", *benchmark.others)
    values = ((*record.inputs, record.answer, *record.others) for record in records)
    examples = [dspy.Example(**dict(zip(names, row, strict=True))).with_inputs(*benchmark.inputs) for row in values]
    lacking = {field: sum(example[field] == UNKNOWN for example in examples) for field in benchmark.others}
    return examples, notes + [f"examples without {field}: {count}" for field, count in lacking.items() if count]


def _records(rows: Iterable[Row], benchmark: Benchmark, dropped: Counter[str]) -> Iterator[_Record]:
    """The rows that can be used; the others are counted by reason in `dropped`."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    paths = {field: _column(first, field, benchmark) for field in benchmark.columns}
    for row in chain([first], rows):
        texts = [benchmark.problem(_value(row, paths[field])) for field in benchmark.inputs]
        texts.append(benchmark.answer(_value(row, paths["answer"])))
        reason = next((text.reason for text in texts if isinstance(text, Dropped)), None)
        if reason is not None:
            dropped[reason] += 1
            continue
        *inputs, answer = (text for text in texts if isinstance(text, str))
        yield _Record(tuple(inputs), answer, tuple(_text(_value(row, paths[field])) for field in benchmark.others))


def _column(first: Row, field: str, benchmark: Benchmark) -> str:
    """The column that a field is read from, by what the first row has."""
    candidates = benchmark.columns[field]
    for path in candidates:
        try:
            value_at(first.values, path)
        except LookupError:
            continue
        return path
    if field in (*benchmark.inputs, "answer"):
        raise DataError(
            f"{first.where}: no column {' or '.join(f'`{path}`' for path in candidates)} for the field `{field}` of "
            f"{benchmark.name}; the columns are {columns_of(first.values)}; name it with columns={{'{field}': ...}}"
        )
    return candidates[0]


def _value(row: Row, path: str) -> Any:
    """None where the row leaves the column out, as nested rows of a dataset may."""
    try:
        return value_at(row.values, path)
    except LookupError:
        return None


def _text(value: object) -> str:
    return UNKNOWN if value is None else str(value).strip() or UNKNOWN


class _Vote(NamedTuple):
    """What some rows say of a problem: how many they are, and the one to keep of them."""

    rows: int
    record: _Record


def _distinct(records: Iterable[_Record]) -> tuple[list[_Record], list[str]]:
    """One record for each problem, in the order of their first rows; repeated rows and conflicts are counted."""
    found: dict[str, dict[str, _Vote]] = {}
    for record in records:
        votes = found.setdefault(problem_key("\n".join(record.inputs)), {})
        rows, other = votes.get(answer_key(record.answer), (0, record))
        votes[answer_key(record.answer)] = _Vote(rows + 1, min(record, other))
    ranked = [sorted(votes.values(), key=lambda vote: -vote.rows) for votes in found.values()]
    settled = [best for best, *rest in ranked if not rest or rest[0].rows < best.rows]
    conflicts = sum(len(votes) > 1 for votes in ranked)
    tied = len(ranked) - len(settled)
    repeated = sum(vote.rows - 1 for votes in ranked for vote in votes)
    notes = []
    if repeated:
        notes.append(f"rows dropped as repetitions: {repeated}")
    if conflicts:
        kept = f"{conflicts - tied} kept with the answer that most of their rows give, {tied} dropped as tied"
        notes.append(f"problems with conflicting answers: {conflicts} ({kept})")
    return [vote.record for vote in settled], notes
