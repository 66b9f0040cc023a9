"""Examples and metric of a command line, checked against each other before a call is paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfgrpo_dspy.cli.options.common import DataOptions
from tfgrpo_dspy.cli.references import check_fit, fit_of
from tfgrpo_dspy.data.examples import load_examples
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.rewards.metrics import BUILT_IN

if TYPE_CHECKING:
    import dspy


def examples_for(program: dspy.Module, source: str, options: DataOptions) -> list[dspy.Example]:
    """The examples of a file or dataset for that program and metric.

    Raises:
        DataError: They cannot be read, or do not fit the program or the metric.
        SettingsError, MissingExtraError: As `load_examples`.
    """
    examples = load_examples(
        source,
        inputs=split_names(options.inputs),
        answer=options.answer,
        limit=options.limit,
        split=options.split,
        fit=fit_of(program),
    )
    check_fit(program, examples)
    if options.metric in BUILT_IN and not examples[0].labels().keys():
        raise DataError(
            f"{source}: the metric {options.metric} needs an expected answer, and no column looks like one; "
            "name it, e.g. --answer answer=<column>"
        )
    return examples


def split_names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """`("a,b", "c")` as `("a", "b", "c")`; None for nothing given."""
    names = [name.strip() for text in given or () for name in text.split(",") if name.strip()]
    return tuple(names) or None


def described(source: str, examples: Sequence[dspy.Example]) -> str:
    """`60 examples of train.jsonl (question -> answer)`."""
    inputs, labels = examples[0].inputs().keys(), examples[0].labels().keys()
    fields = f"{', '.join(inputs)} -> {', '.join(labels) or 'no label'}"
    noun = "example" if len(examples) == 1 else "examples"
    return f"{len(examples)} {noun} of {source} ({fields})"
