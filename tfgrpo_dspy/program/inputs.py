"""What a program takes: by its `forward`, or by the signature of a module of DSPy's."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import dspy

from tfgrpo_dspy.data.columns import Fit
from tfgrpo_dspy.errors import DataError


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
    if isinstance(program, dspy.ChainOfThought):
        return program.predict.signature  # type: ignore[no-any-return]
    signature, inner = getattr(program, "signature", None), getattr(program, "module", None)
    if isinstance(signature, type) and issubclass(signature, dspy.Signature):
        return signature
    return _signature_of(inner) if isinstance(inner, dspy.Module) else None
