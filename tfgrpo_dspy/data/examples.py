"""Examples from a file or from the Hugging Face Hub: rows in, `dspy.Example`s with named inputs and an answer out.

Text formats are read here, with the standard library, so that a bad line is reported by its number; Parquet and the
Hub need the extra `datasets`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from tfgrpo_dspy.data.rows import Row, read_rows
from tfgrpo_dspy.errors import DataError, SettingsError

if TYPE_CHECKING:
    import dspy

QUESTION_COLUMNS = ("question", "problem", "query", "input", "instruction", "prompt")
"""Columns taken for the question when no inputs are named, the first that exists, whatever its case."""
ANSWER_COLUMNS = ("answer", "final_answer", "ground_truth", "target", "label", "expected", "output", "solution")
"""Columns taken for the answer when none is named, the first that exists, whatever its case."""

_DAPO = ("prompt.-1.content", "reward_model.ground_truth")
_NAMES_SHOWN = 30


class Field(NamedTuple):
    """A field of the example and the column it is read from."""

    name: str
    path: str
    """A column, or a dotted path into nested ones: `prompt.0.content`; `-1` is the last of a list."""


def load_examples(
    source: str,
    *,
    inputs: Sequence[str] | None = None,
    answer: str | None = None,
    limit: int | None = None,
    split: str | None = None,
) -> list[dspy.Example]:
    """Examples of a file (.jsonl, .json, .csv, .parquet) or of a dataset on the Hugging Face Hub.

    With neither inputs nor answer named, the columns are guessed from the first row. The nested layout of DAPO
    (`prompt` a list of messages, `reward_model.ground_truth`) gives `question` (the last message) and `answer`.
    Otherwise the first of `QUESTION_COLUMNS` becomes `question` and the first of `ANSWER_COLUMNS`, if there is one,
    becomes `answer`, so that a `question -> answer` program runs on GSM8K, MATH and AIME alike. Values are kept as
    they are: a worked solution that ends in `#### 18` stays whole, and the metric `number` reads it.

    Args:
        source: Path of a file, or a dataset id, `owner/name` or `owner/name:configuration` (`openai/gsm8k:main`).
        inputs: Input fields: a column (`question`), or a new name and the column or dotted path it stands for
            (`question=prompt.0.content`). None: guess.
        answer: The label field, named in the same way. None: guess; no label if nothing fits.
        limit: Rows at most, from the first, > 0; what comes after them is not read from text files.
        split: Split of a Hub dataset, e.g. `test`; may be left out if there is only one.

    Returns:
        The examples in row order; their only fields are the inputs and the answer.

    Raises:
        DataError: The source cannot be read, lacks a column or a value; the message names file and line.
        SettingsError: An argument that cannot be used.
        MissingExtraError: Parquet or the Hub without the extra `datasets`.
    """
    if limit is not None and limit < 1:
        raise SettingsError(f"limit must be at least 1 row, got {limit}; leave it out to read all rows")
    rows = iter(islice(read_rows(source, split=split, limit=limit), limit))
    first = next(rows, None)
    if first is None:
        raise DataError(f"{source}: there is no row in it; it must hold at least one example")
    fields, label = _fields(first, inputs, answer)
    return [_example(row, fields, label) for row in chain([first], rows)]


def parse_field(text: str) -> Field:
    """The field that `question` or `question=prompt.0.content` describes.

    Raises:
        SettingsError: The field's name could not be an attribute of an example.
    """
    name, renamed, path = (part.strip() for part in text.partition("="))
    if not name.isidentifier():
        raise SettingsError(
            f"{name!r} cannot be the name of a field; give it one in front of the column, e.g. question={path or name}"
        )
    if renamed and not path:
        raise SettingsError(f"{text!r} names no column; write {name}=<column>")
    return Field(name, path or name)


def _fields(first: Row, inputs: Sequence[str] | None, answer: str | None) -> tuple[list[Field], Field | None]:
    if inputs is not None and not inputs:
        raise SettingsError("inputs names no field; name at least one, or leave it out to have it guessed")
    named = [parse_field(text) for text in inputs or ()]
    nested = all(_has(first.values, path) for path in _DAPO)
    if answer is not None:
        label: Field | None = parse_field(answer)
    else:
        label = Field("answer", _DAPO[1]) if nested else _guess("answer", ANSWER_COLUMNS, first, named)
    if inputs is None:
        named = [Field("question", _DAPO[0]) if nested else _guess_question(first, label)]
    names = [field.name for field in (*named, *([label] if label else []))]
    if len(set(names)) != len(names):
        raise SettingsError(f"two fields share a name among {', '.join(names)}; rename one, e.g. question=<column>")
    return named, label


def _guess_question(first: Row, label: Field | None) -> Field:
    guess = _guess("question", QUESTION_COLUMNS, first, [label] if label else [])
    if guess is None:
        raise DataError(
            f"{first.where}: no column looks like a question; name the inputs, "
            f"the columns are {columns_of(first.values)}"
        )
    return guess


def _guess(name: str, candidates: Iterable[str], first: Row, taken: Iterable[Field]) -> Field | None:
    free = first.values.keys() - {field.path for field in taken}
    columns = {column.casefold(): column for column in sorted(free, reverse=True)}  # `answer` wins over `Answer`
    return next((Field(name, columns[c]) for c in candidates if c in columns), None)


def _example(row: Row, fields: Sequence[Field], label: Field | None) -> dspy.Example:
    import dspy  # heavy, and only needed here

    values = {field.name: _value(row, field, "input") for field in fields}
    if label is not None:
        values[label.name] = _value(row, label, "answer")
    return dspy.Example(**values).with_inputs(*(field.name for field in fields))


def _value(row: Row, field: Field, role: str) -> Any:
    try:
        value = value_at(row.values, field.path)
    except LookupError:
        raise DataError(
            f"{row.where}: there is no column `{field.path}` for the {role} `{field.name}`; "
            f"the columns are {columns_of(row.values)}"
        ) from None
    if _is_empty(value):
        raise DataError(
            f"{row.where}: the {role} `{field.name}` (column `{field.path}`) is empty; fill it in or take the row out"
        )
    return value


def _is_empty(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | Mapping) and not value)


def _has(values: Mapping[str, Any], path: str) -> bool:
    try:
        value_at(values, path)
    except LookupError:
        return False
    return True


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """The value at a column of that very name, else at the dotted path; LookupError if there is none."""
    if path in values:
        return values[path]
    value: Any = values
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value[part]
        elif isinstance(value, list) and re.fullmatch(r"-?\d+", part):
            value = value[int(part)]
        else:
            raise LookupError(part)
    return value


def columns_of(values: Mapping[str, Any]) -> str:
    """The columns of a row for a message, nested ones as dotted paths."""
    paths = list(_paths(values, ""))
    shown = ", ".join(f"`{path}`" for path in paths[:_NAMES_SHOWN]) or "(none)"
    return shown + (f" and {len(paths) - _NAMES_SHOWN} more" if len(paths) > _NAMES_SHOWN else "")


def _paths(value: Any, prefix: str) -> Iterable[str]:
    """Every column, nested ones as dotted paths; of a list only its first element."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _paths(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        yield from _paths(value[0], f"{prefix}.0")
    elif prefix:
        yield prefix
