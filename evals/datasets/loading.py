"""Benchmarks as examples: read from the Hugging Face Hub or a file, cleaned, and pinned by a hash of their content.

    train = load("dapo-100")                                         # from the Hub
    test = load("aime24", "aime_2024.jsonl")                         # from a file with the same columns
    hard = load("webwalkerqa", level="hard", lang="zh", limit=20)
    mine = load("any", "mine.csv", columns={"question": "Q", "answer": "A", "topic": "T"}, topic="algebra")

What was dropped or decided on the way stands in `Dataset.notes`, with how many rows it befell.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from evals.datasets.benchmarks import KNOWN, Benchmark, benchmark_named
from evals.datasets.cleaning import clean
from evals.texts import content_hash, draw
from tfgrpo_dspy import DataError, SettingsError
from tfgrpo_dspy.data import read_rows

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples with what is to be said about them."""

    name: str
    """The benchmark's; the source's if that is `any`."""
    examples: tuple[dspy.Example, ...]
    """With their inputs set; no problem occurs twice."""
    sha256: str
    """`content_hash` of the examples."""
    source: str
    """Dataset id or file name, never a path."""
    source_sha256: str
    """`content_hash` of all usable examples of the source, before filters, sample and limit; `KNOWN` is by this one."""
    domain: str
    """`math`, `web` or `any`."""
    notes: tuple[str, ...] = ()
    """What was dropped or decided, and how often."""

    def __len__(self) -> int:
        return len(self.examples)


def load(  # noqa: PLR0913 - flat keywords, as in load_examples
    name: str | Benchmark,
    source: str | Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    sample: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    **filters: str | int | Collection[str | int],
) -> Dataset:
    """A benchmark's examples: cleaned, then filtered, then drawn, then cut.

    Rows with an empty problem or answer are dropped. Of rows with the same problem (`problem_key`) one is kept. If they
    disagree about the answer (`answer_key`) the answer that most of them give wins, and with no such answer the
    problem is dropped: an ambiguous ground truth would teach the wrong thing.

    Args:
        name: One of `BENCHMARKS`, or a benchmark of your own.
        source: A file or a dataset id with the same columns; None for the benchmark's own id on the Hub.
        columns: Field to column where a source names them otherwise; see `benchmark_named`.
        split: Split on the Hub; None for the benchmark's own, or for a given source its only one.
        sample: Examples drawn at random, > 0; None for the benchmark's own number, or all. The draw depends on the seed
            and the problems, not on the order of the rows or the form of the file.
        limit: Examples at most, > 0, the first ones.
        seed: Of the draw.
        **filters: Field to value, or to several, e.g. `level="hard"`; a value that a row lacks is `unknown`.

    Raises:
        DataError: The source cannot be read, lacks a column, holds too few examples, or none that fits.
        SettingsError: An argument that cannot be used.
        MissingExtraError: Parquet or the Hub without the extra `datasets`.
    """
    benchmark = benchmark_named(name, columns)
    sample = sample if sample is not None else benchmark.sample
    _check(benchmark, source, filters, sample=sample, limit=limit)
    place = str(source or benchmark.hub)
    shown = Path(place).name if Path(place).exists() else place
    rows = read_rows(place, split=split or (None if source else benchmark.split))
    examples, notes = clean(rows, benchmark, shown)
    digest = content_hash(examples)
    notes += [benchmark.remark or "", _recognised(digest, benchmark, shown)]
    chosen, kept = _filtered(examples, filters)
    notes += kept
    if sample is not None:
        notes.append(f"drawn with seed {seed}: {sample} of {len(chosen)} examples")
        chosen = _drawn(chosen, sample, seed, shown)
    chosen = chosen[:limit]
    return Dataset(
        name=shown if benchmark.name == "any" else benchmark.name,
        examples=tuple(chosen),
        sha256=content_hash(chosen),
        source=shown,
        source_sha256=digest,
        domain=benchmark.domain,
        notes=tuple(note for note in notes if note),
    )


def _check(
    benchmark: Benchmark, source: object, filters: Mapping[str, object], *, sample: int | None, limit: int | None
) -> None:
    if source is None and benchmark.hub is None:
        raise SettingsError(f"{benchmark.name!r} has no dataset of its own; give a file or a dataset id as source")
    for argument, value in {"sample": sample, "limit": limit}.items():
        if value is not None and value < 1:
            raise SettingsError(f"{argument} must be at least 1 example, got {value}; leave it out to have all")
    fields = ", ".join(benchmark.others) or "(none)"
    for field in filters:
        if field not in benchmark.others:
            raise SettingsError(f"{benchmark.name} cannot be filtered by {field!r}; its fields for that are {fields}")


def _recognised(digest: str, benchmark: Benchmark, shown: str) -> str:
    """What is to be said of the content; a content that is not the benchmark's is also logged."""
    known = KNOWN.get(digest)
    if known is not None and benchmark.hub in {None, known.hub}:
        return f"content is known: {known.hub}, {known.what}"
    if known is None and not any(other.hub == benchmark.hub and other.is_whole for other in KNOWN.values()):
        return f"content is not known here, recorded as {digest[:12]}"
    instead = f"it is {known.hub}" if known is not None else "other rows or another wording"
    note = (
        f"content {digest[:12]} is none that is known for {benchmark.hub}: {instead}, so figures on it may not compare "
        "with published ones"
    )
    _log.warning("%s from %s: %s", benchmark.name, shown, note)
    return note


def _filtered(examples: Sequence[dspy.Example], filters: Mapping[str, Any]) -> tuple[list[dspy.Example], list[str]]:
    chosen, notes = list(examples), []
    for field, wanted in filters.items():
        values = {str(value).casefold() for value in ([wanted] if isinstance(wanted, str | int) else wanted)}
        there = sorted({example[field] for example in chosen})
        before = len(chosen)
        chosen = [example for example in chosen if example[field].casefold() in values]
        if not chosen:
            raise DataError(f"no example has {field} {' or '.join(sorted(values))}; there are {', '.join(there)}")
        notes.append(f"kept for {field} {' or '.join(sorted(values))}: {len(chosen)} of {before} examples")
    return chosen, notes


def _drawn(examples: Sequence[dspy.Example], sample: int, seed: int, shown: str) -> list[dspy.Example]:
    if sample > len(examples):
        raise DataError(f"{shown}: {sample} examples cannot be drawn from {len(examples)}; lower sample")
    return list(draw(examples, sample, seed))
