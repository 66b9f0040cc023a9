"""Train, validation and test sets that share no problem, by `evals.texts.problem_key`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import dspy

from evals.datasets.loading import Dataset
from evals.texts import content_hash, draw, problem_key, problem_of
from tfgrpo_dspy import DataError, SettingsError

_SHOWN = 5
_EXCERPT = 60


class Split(NamedTuple):
    """Three parts of a dataset; one that was not asked for is empty."""

    train: Dataset
    val: Dataset
    test: Dataset


def split(dataset: Dataset, *, train: int, val: int = 0, test: int = 0, seed: int = 0) -> Split:
    """Parts of a dataset, drawn at random; the same seed and problems give the same parts, whatever their order.

    Args:
        dataset: Taken apart; what is in no part is left.
        train: Examples, >= 0; so for the other two.
        val: To choose by while learning.
        test: To report on.
        seed: Of the draw.

    Raises:
        SettingsError: A negative size, or none above 0.
        DataError: More is asked for than there is, or a problem stands in two parts.
    """
    sizes = {"train": train, "val": val, "test": test}
    wanted = sum(sizes.values())
    if min(sizes.values()) < 0 or not wanted:
        raise SettingsError(f"the sizes of a split are 0 or more, and one is above 0; got {sizes}")
    if wanted > len(dataset):
        raise DataError(f"{dataset.name} has {len(dataset)} examples, {wanted} were asked for ({sizes}); ask for fewer")
    drawn = draw(dataset.examples, wanted, seed)
    parts = Split(
        _part(dataset, "train", drawn[:train]),
        _part(dataset, "val", drawn[train : train + val]),
        _part(dataset, "test", drawn[train + val :]),
    )
    check_disjoint(*parts)
    return parts


def check_disjoint(*datasets: Dataset) -> None:
    """Refuse datasets of which two hold the same problem, parts of one dataset or not.

    Compared is the text, without regard to case, white space, punctuation and Unicode's compatibility forms
    (`problem_key`); a problem in other words is not found.

    Raises:
        DataError: Names the rows, counted from 1.
    """
    seen: dict[str, tuple[int, str]] = {}
    clashes = []
    for number, dataset in enumerate(datasets):
        for row, example in enumerate(dataset.examples, start=1):
            where = f"{dataset.name} row {row}"
            first, place = seen.setdefault(problem_key(problem_of(example)), (number, where))
            if first != number:
                clashes.append(f"{place} and {where} ({_excerpt(example)})")
    if clashes:
        more = f" and {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
        raise DataError(
            f"{len(clashes)} problems are in two sets, so a score on them would not be held out: "
            f"{'; '.join(clashes[:_SHOWN])}{more}; leave them out of one with evals.datasets.without(train, test)"
        )


def without(dataset: Dataset, *others: Dataset) -> Dataset:
    """The dataset without the problems that stand in another one, with a note of how many those were."""
    taken = {problem_key(problem_of(example)) for other in others for example in other.examples}
    kept = [example for example in dataset.examples if problem_key(problem_of(example)) not in taken]
    names = ", ".join(other.name for other in others)
    note = f"examples dropped as they stand in {names} too: {len(dataset) - len(kept)}"
    return replace(dataset, examples=tuple(kept), sha256=content_hash(kept), notes=(*dataset.notes, note))


def _part(dataset: Dataset, name: str, examples: Sequence[dspy.Example]) -> Dataset:
    note = f"drawn for {name}: {len(examples)} of {len(dataset)} examples"
    return replace(
        dataset,
        name=f"{dataset.name}/{name}",
        examples=tuple(examples),
        sha256=content_hash(examples),
        notes=(*dataset.notes, note),
    )


def _excerpt(example: dspy.Example) -> str:
    text = " ".join(problem_of(example).split())
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
