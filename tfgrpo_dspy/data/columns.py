"""Which columns of a row are a program's inputs and its label: named, or guessed by the layouts that people use."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tfgrpo_dspy.data.files import Row
from tfgrpo_dspy.errors import DataError, SettingsError

logger = logging.getLogger(__name__)

QUESTION_COLUMNS = ("question", "problem", "query", "input", "instruction", "prompt", "text", "sentence")
"""Columns taken for the question when no inputs are named, the first that exists, whatever its case."""
ANSWER_COLUMNS = tuple(
    "answer final_answer ground_truth target label expected output response completion solution".split()
)
"""Columns taken for the answer when none is named, the first that exists, whatever its case."""

_DAPO = ("prompt.-1.content", "reward_model.ground_truth")
_NAMES_SHOWN = 30
_PART_OF_A_TASK = frozenset(
    "context passage passages document documents text choices options history image instruction input".split()
)
"""Columns beside a question that are likely to belong to it."""


class Field(NamedTuple):
    """A field of the example and the column it is read from."""

    name: str
    path: str
    """A column, or a dotted path into nested ones: `prompt.0.content`; `-1` is the last of a list."""
    added: str = ""
    """A column whose text follows where it is not empty, as in the layout of Alpaca; empty for none."""

    def __str__(self) -> str:
        more = f" and '{self.added}'" if self.added else ""
        return self.name if self.name == self.path and not more else f"{self.name} (column '{self.path}'{more})"


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


class Fit(NamedTuple):
    """The fields of the program that examples are for, by which columns are guessed."""

    reads: Sequence[str] = ()
    """Its inputs: if there are columns of all these names, they are the inputs."""
    gives: Sequence[str] = ()
    """Its outputs: the first that there is a column of is the label."""


def fields_of(
    first: Row, inputs: Sequence[str] | None, answer: str | None, fit: Fit
) -> tuple[list[Field], Field | None]:
    """The input fields and the label, as named or guessed by the first row; a guess that may be wrong is told.

    Raises:
        DataError: No column looks like a question.
        SettingsError: What was named cannot be used.
    """
    if inputs is not None and not inputs:
        raise SettingsError("inputs names no field; name at least one, or leave it out to have it guessed")
    named = [parse_field(text) for text in inputs or ()]
    if inputs is None and first.inputs:
        named = [Field(name, name) for name in first.inputs]
    elif inputs is None and fit.reads and all(name in first.values for name in fit.reads):
        named = [Field(name, name) for name in fit.reads]
    label = parse_field(answer) if answer is not None else _guess_label(first, named, fit.gives)
    named = named or _guess_inputs(first, label)
    names = [field.name for field in (*named, *([label] if label else []))]
    if len(set(names)) != len(names):
        raise SettingsError(f"two fields share a name among {', '.join(names)}; rename one, e.g. question=<column>")
    if inputs is None or answer is None:
        _tell(first, named, label)
    return named, label


def _guess_label(first: Row, taken: Sequence[Field], gives: Sequence[str]) -> Field | None:
    read = {field.path for field in taken}
    if (own := next((name for name in gives if name in first.values and name not in read), None)) is not None:
        return Field(own, own)
    if _has(first.values, _DAPO[1]):
        return Field("answer", _DAPO[1])
    return _guess("answer", ANSWER_COLUMNS, first, taken)


def _guess_inputs(first: Row, label: Field | None) -> list[Field]:
    columns = _by_case(first.values)
    if "instruction" in columns and not {"question", "problem", "query"} & columns.keys():
        return [Field("question", columns["instruction"], columns.get("input", ""))]  # Alpaca: input is mostly empty
    if isinstance(first.values.get("prompt"), list) and _has(first.values, _DAPO[0]):
        return [Field("question", _DAPO[0])]
    guess = _guess("question", QUESTION_COLUMNS, first, [label] if label else [])
    if guess is None:
        raise DataError(
            f"{first.where}: no column looks like a question; name the one of each input by `inputs`, e.g. "
            f"question=<column>; the columns are {columns_of(first.values)}"
        )
    return [guess]


def _tell(first: Row, inputs: Sequence[Field], label: Field | None) -> None:
    """What was guessed, and what is left out by it; loudly where that may be half of the task."""
    fields = [*inputs, *([label] if label else [])]
    used = {path.partition(".")[0] for field in fields for path in (field.path, field.added)}
    unread = [name for name in map(str, first.values) if name not in used]
    doubtful = [name for name in unread if name.casefold() in _PART_OF_A_TASK]
    left = f"; not read: {', '.join(unread[:_NAMES_SHOWN])}" if unread else ""
    if doubtful:
        left += f"; if the program needs {' and '.join(doubtful)}, name its inputs"
    if unread and label is None:
        left += "; if one of these is the expected answer, name it"
    told = f"{', '.join(map(str, inputs))} -> {label or 'no label'}"
    is_doubtful = bool(doubtful or (unread and label is None))
    logger.log(logging.WARNING if is_doubtful else logging.INFO, "%s: guessed %s%s", first.where, told, left)


def _guess(name: str, candidates: Iterable[str], first: Row, taken: Iterable[Field]) -> Field | None:
    columns = _by_case(first.values.keys() - {field.path for field in taken})
    return next((Field(name, columns[c]) for c in candidates if c in columns), None)


def _by_case(names: Iterable[str]) -> dict[str, str]:
    """The columns by their names in small letters; `answer` wins over `Answer`."""
    return {name.casefold(): name for name in sorted(names)}


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
    shown = ", ".join(f"'{path}'" for path in paths[:_NAMES_SHOWN]) or "(none)"
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
