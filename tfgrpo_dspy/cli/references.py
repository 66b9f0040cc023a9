"""What a command line can only name: programs, metrics and examples, checked against each other before a call is paid.

A reference is `package.module:attribute` or `path/to/file.py:attribute`. It runs the user's own code, which is
imported from the current folder, as `python -m` would. Agents and metrics that come with this package are named as in
a clone of it, wherever they are: `programs.math:react`, `evals.verifiers:math_equal`.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.cli.options.common import DataOptions
from tfgrpo_dspy.cli.options.program import UnknownOption, arguments_of
from tfgrpo_dspy.data.columns import Fit
from tfgrpo_dspy.data.examples import load_examples
from tfgrpo_dspy.errors import DataError, ProgramError, SettingsError, TFGRPOError
from tfgrpo_dspy.names.modules import find_module, is_about
from tfgrpo_dspy.names.plugins import load_plugin, plugins
from tfgrpo_dspy.rewards.metrics import BUILT_IN

if TYPE_CHECKING:
    import dspy

    from tfgrpo_dspy.rewards.reward import Metric


def load_program(reference: str, given: Sequence[str] = ()) -> dspy.Module:
    """The program of a reference: a module instance, a class of one, or a function that returns one.

    Args:
        reference: Where it is.
        given: Options for the class or function, as they were typed.

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
    with _their_code(reference, ProgramError):
        arguments = arguments_of(found, given, reference)
        _check_arguments(found, reference, arguments)
        made = found(**arguments)
    if not isinstance(made, dspy.Module):
        raise ProgramError(f"{reference} returned a value of type {type(made).__name__}; it must return a dspy.Module")
    if given:
        made.tfgrpo_options = tuple(given)  # part of a run's identity
    return made


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


def check_fit(program: dspy.Module, examples: Sequence[dspy.Example]) -> None:
    """Check that the program takes the inputs which the examples have.

    Raises:
        DataError: It does not; the message shows how to rename a column.
    """
    given = set(examples[0].inputs().keys())
    required, known = _inputs_of(program)
    missing = sorted(required - given)
    excess = sorted(given - known) if known is not None else []
    if missing or excess:
        told = ", ".join(sorted(given))
        wanted = ", ".join(sorted(required or known or ()))
        name = missing[0] if missing else wanted or "question"
        raise DataError(
            f"the program reads {wanted or 'nothing'}, but the examples' inputs are {told}; "
            f"name the column of each input, e.g. --inputs {name}=<column>"
        )


def fit_of(program: dspy.Module) -> Fit:
    """The fields of a program, by which columns of examples are guessed."""
    required, known = _inputs_of(program)
    predictors = program.predictors()
    first = [*predictors[0].signature.input_fields] if predictors else []
    outputs = [name for predictor in predictors for name in predictor.signature.output_fields]
    return Fit(sorted(required or known or first), list(dict.fromkeys(outputs[::-1])))


def _inputs_of(program: dspy.Module) -> tuple[set[str], set[str] | None]:
    """Inputs that the program needs, and all that it takes (None for any)."""
    forward = getattr(type(program), "forward", None) or getattr(type(program), "aforward", None)
    if forward is None:
        return set(), None
    taken = [p for p in list(inspect.signature(forward).parameters.values())[1:] if p.kind is not p.VAR_POSITIONAL]
    named = [p for p in taken if p.kind is not p.VAR_KEYWORD]
    if not named and (signature := _signature_of(program)) is not None:
        return set(signature.input_fields), set(signature.input_fields)
    required = {p.name for p in named if p.default is p.empty}
    return required, {p.name for p in named} if len(named) == len(taken) else None


def _signature_of(program: dspy.Module) -> type[dspy.Signature] | None:
    """What a module of DSPy's says that it takes, itself or what it wraps; a `forward` of a user's own says nothing."""
    import dspy

    if isinstance(program, dspy.ChainOfThought):
        return program.predict.signature  # type: ignore[no-any-return]
    signature, inner = getattr(program, "signature", None), getattr(program, "module", None)
    if isinstance(signature, type) and issubclass(signature, dspy.Signature):
        return signature
    return _signature_of(inner) if isinstance(inner, dspy.Module) else None


def load_attribute(reference: str, kind: str, refusal: type[TFGRPOError]) -> Any:
    """What stands at `package.module:attribute` or `path/to/file.py:attribute`.

    Args:
        reference: The place.
        kind: What it is to be, for messages.
        refusal: The error that says why it cannot be had.
    """
    source, colon, name = reference.rpartition(":")
    if not colon or not source or not name:
        raise refusal(f"{reference!r} names no {kind}; write package.module:attribute or path/to/file.py:attribute")
    with _their_code(reference, refusal):
        module = _from_file(source, refusal) if source.endswith(".py") else _from_name(source, kind, refusal)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise refusal(f"{source} has no {name!r}; {_offer(module, kind)}")
        found = getattr(found, part)
    return found


def _from_file(source: str, refusal: type[TFGRPOError]) -> ModuleType:
    path = Path(source).resolve()
    if not path.is_file():
        raise refusal(f"there is no file {source} (relative to {Path.cwd()}); check the path")
    name = f"tfgrpo_reference_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise refusal(f"{source} cannot be imported; it must be a Python file")
    _add_to_path(path.parent)  # so that it finds the files beside it, as a script would
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _from_name(source: str, kind: str, refusal: type[TFGRPOError]) -> ModuleType:
    _add_to_path(Path.cwd())
    try:
        return find_module(source)
    except ModuleNotFoundError as error:
        if not is_about(error, source):
            raise  # found, but something that it imports is missing
        raise refusal(
            f"there is no module {source} to take a {kind} from; it is looked for in {Path.cwd()} and among the "
            "installed packages, and a file is written path/to/file.py:attribute"
        ) from error


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@contextmanager
def _their_code(reference: str, refusal: type[TFGRPOError]) -> Iterator[None]:
    try:
        yield
    except TFGRPOError:
        raise
    except (Exception, SystemExit) as error:
        raise refusal(
            f"{reference} could not be loaded: {type(error).__name__}: {error}; mend it and try again"
        ) from error


def _check_arguments(factory: Callable[..., Any], reference: str, given: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    needed = [name for name in needed if name not in given]
    if needed:
        raise ProgramError(
            f"{reference} needs the arguments {', '.join(needed)}; give them as options, "
            f"--{needed[0].replace('_', '-')} ..., or name a function without any that returns the program"
        )


def _offer(module: ModuleType, kind: str) -> str:
    import dspy

    public = [(name, value) for name, value in vars(module).items() if not name.startswith("_")]
    if kind == "program":
        names = [name for name, value in public if isinstance(value, dspy.Module)]
    else:
        names = [n for n, value in public if inspect.isfunction(value) and value.__module__ == module.__name__]
    return f"it has {', '.join(sorted(names)[:10])}" if names else f"check the name of the {kind}"
