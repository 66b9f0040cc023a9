"""What a command line can only name: programs, metrics and examples, checked against each other before a call is paid.

A reference is `package.module:attribute` or `path/to/file.py:attribute`. It runs the user's own code, which is
imported from the current folder, as `python -m` would. Agents and metrics that come with this package are named as in
a clone of it, wherever they are: `programs.math:react`, `evals.verifiers:math_equal`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.cli.options.common import DataOptions
from tfgrpo_dspy.cli.options.program import UnknownOption, arguments_of
from tfgrpo_dspy.data.examples import load_examples
from tfgrpo_dspy.errors import DataError, ProgramError, SettingsError
from tfgrpo_dspy.names.plugins import load_plugin, plugins
from tfgrpo_dspy.names.reference import load_attribute, theirs
from tfgrpo_dspy.program.inputs import check_fit, fit_of
from tfgrpo_dspy.rewards.metrics import BUILT_IN

if TYPE_CHECKING:
    import dspy

    from tfgrpo_dspy.rewards.reward import Metric


def load_program(reference: str, given: Sequence[str] = ()) -> dspy.Module:
    """The program of a reference: a module instance, or what makes one of `given` options, as they were typed.

    Raises:
        ProgramError: It cannot be found, or is no program.
        SettingsError: It takes no such option.
    """
    import dspy

    found = load_attribute(reference, "program", ProgramError)
    if isinstance(found, dspy.Module):
        if given:
            raise UnknownOption(given[0], reference, "")
        return found
    if not callable(found):
        raise ProgramError(f"{reference} is of type {type(found).__name__}; a program is a dspy.Module or makes one")
    with theirs(reference, ProgramError):
        arguments = arguments_of(found, given, reference)
        missing = [name for name in _needed(found) if name not in arguments]
        if missing:
            raise ProgramError(
                f"{reference} needs the arguments {', '.join(missing)}; give them as options, "
                f"--{missing[0].replace('_', '-')} ..., or name a function without any that returns the program"
            )
        made = found(**arguments)
    if not isinstance(made, dspy.Module):
        raise ProgramError(f"{reference} returned a value of type {type(made).__name__}; it must return a dspy.Module")
    if given:
        made.tfgrpo_options = tuple(given)  # part of a run's identity
    return made


def _needed(factory: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def load_metric(reference: str) -> Metric:
    """The metric of a built-in name, of a name that another distribution brings, or of a reference.

    Raises:
        SettingsError: It cannot be found, or is neither a function nor a `GroupMetric`.
    """
    from tfgrpo_dspy.rewards.reward import GroupMetric

    if reference in BUILT_IN:
        return BUILT_IN[reference]
    if ":" not in reference:
        brought = plugins("rewards")
        if reference not in brought:
            known = ", ".join([*BUILT_IN, *brought])
            raise SettingsError(f"no metric is called {reference!r}; choose one of {known}, or give module:function")
        found = load_plugin("rewards", reference)
    else:
        found = load_attribute(reference, "metric", SettingsError)
    if not callable(found) and not isinstance(found, GroupMetric):
        raise SettingsError(f"{reference} is of type {type(found).__name__}; a metric is a function or a GroupMetric")
    return found  # type: ignore[no-any-return]


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
