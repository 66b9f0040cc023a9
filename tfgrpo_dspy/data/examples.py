"""Examples from wherever rows are: rows in, `dspy.Example`s with named inputs and an answer out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, islice
from math import isnan
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.data.columns import Field, Fit, columns_of, fields_of, value_at
from tfgrpo_dspy.data.files import STDIN, Row
from tfgrpo_dspy.data.rows import read_rows
from tfgrpo_dspy.errors import DataError, SettingsError

if TYPE_CHECKING:
    import dspy


def load_examples(
    source: Any,
    *,
    inputs: Sequence[str] | None = None,
    answer: str | None = None,
    limit: int | None = None,
    split: str | None = None,
    fit: Fit = Fit(),
) -> list[dspy.Example]:
    """Examples of files, of a folder of shards, of a dataset on the Hugging Face Hub, or of rows in Python.

    Examples:
        >>> load_examples([{"ticket": "It is late.", "label": "delivery"}], inputs=["ticket"], answer="label")
        [Example({'ticket': 'It is late.', 'label': 'delivery'}) (input_keys={'ticket'})]

    With neither inputs nor answer named, the columns are guessed from the first row. The nested layout of DAPO
    (`prompt` a list of messages, `reward_model.ground_truth`) gives `question` (the last message) and `answer`; that of
    Alpaca (`instruction`, `input`, `output`) gives both of the first as `question`.
    Otherwise the first of `QUESTION_COLUMNS` becomes `question` and the first of `ANSWER_COLUMNS`, if there is one,
    becomes `answer`, so that a `question -> answer` program runs on GSM8K, MATH and AIME alike. Values are kept as
    they are: a worked solution that ends in `#### 18` stays whole, and the metric `number` reads it.

    Args:
        source: Path of a file (.jsonl, .json, .csv, .tsv, .parquet, .arrow, each also as .gz, .bz2, .xz), of a folder
            of shards or of a `save_to_disk` folder, a pattern (`data/train-*.parquet`), `-` for standard input, an
            address (`hf://`, `https://`), or a dataset id, `owner/name:configuration@revision`, of which the last two
            may be left out (`openai/gsm8k:main`). Or rows: a list of mappings or of Examples, a `datasets.Dataset`, a
            `DataFrame`, any iterable.
        inputs: Input fields: a column (`question`), or a new name and the column or dotted path it stands for
            (`question=prompt.0.content`). None: guess.
        answer: The label field, named in the same way. None: guess; no label if nothing fits.
        limit: Rows at most, from the first, > 0; what comes after them is not read from text files.
        split: Split of a dataset or a folder, e.g. `test`, or a part of it, `train[:100]`; may be left out if there
            is only one. Of a file `[:100]` takes a part.
        fit: Fields of the program, by which columns of their names are found.

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
        named = (
            "standard input"
            if isinstance(source, str) and source == STDIN
            else source
            if isinstance(source, str)
            else "the data"
        )
        raise DataError(f"{named}: there is no row in it; it must hold at least one example")
    fields, label = fields_of(first, inputs, answer, fit)
    return [_example(_alike(row, first), fields, label) for row in chain([first], rows)]


def _alike(row: Row, first: Row) -> Row:
    if row.inputs is not None and first.inputs is not None and set(row.inputs) != set(first.inputs):
        told = " and ".join(f"{', '.join(one.inputs or ())} in {one.where}" for one in (first, row))
        raise DataError(f"the inputs of these Examples differ: {told}; set the same by with_inputs in all of them")
    return row


def _example(row: Row, fields: Sequence[Field], label: Field | None) -> dspy.Example:
    import dspy  # heavy, and only needed here

    values: dict[str, Any] = {}
    for field in fields:
        values[field.name] = _value(row, field, "input")
        added = row.values.get(field.added) if field.added else None
        if not _is_empty(added):
            values[field.name] = f"{values[field.name]}\n\n{added}"
    if label is not None:
        values[label.name] = _value(row, label, "answer")
    return dspy.Example(**values).with_inputs(*(field.name for field in fields))


def _value(row: Row, field: Field, role: str) -> Any:
    try:
        value = value_at(row.values, field.path)
    except LookupError:
        raise DataError(
            f"{row.where}: there is no column '{field.path}' for the {role} '{field.name}'; "
            f"the columns are {columns_of(row.values)}"
        ) from None
    if _is_empty(value):
        raise DataError(
            f"{row.where}: the {role} '{field.name}' (column '{field.path}') is empty; fill it in or take the row out"
        )
    return value


def _is_empty(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list | Mapping):
        return not value
    return value is None or (isinstance(value, float) and isnan(value))
