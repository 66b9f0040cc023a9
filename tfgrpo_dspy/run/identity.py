"""What decides the outcome of a run, by name: a run is taken up only by a run of the same identity."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

import dspy

from tfgrpo_dspy.library.experience import Circumstances
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.settings import DecidingSettings, Settings
from tfgrpo_dspy.signatures import ExtractAdvantage, SummarizeRollout, UpdateLibrary
from tfgrpo_dspy.text import fingerprint, one_line

_SAMPLING = frozenset({"temperature", "max_tokens", "max_completion_tokens", "top_p", "seed", "reasoning_effort"})
"""Arguments of an LM that change its answers; the others may hold credentials and stay out."""


def identity_of(
    settings: Settings,
    student: dspy.Module,
    metric: Metric,
    trainset: Iterable[dspy.Example],
    valset: Iterable[dspy.Example] | None,
    lms: Mapping[str, Iterable[dspy.BaseLM]],
) -> dict[str, Any]:
    """Name to value, of JSON types, for `Store`.

    Args:
        settings: Those of the run; what only changes how its library is come by (threads, budget, ...) is left out.
        student: Without any library; by instructions, demonstrations, the source text of its class, and the options
            of the command line that made it.
        metric: By name and source text, a dataclass by its fields as well; a change in what it calls is not seen.
        trainset: By content and order.
        valset: The same; None for none.
        lms: Role to LMs, by model and sampling arguments.
    """
    from tfgrpo_dspy.library.file import dump_library

    return {
        **settings.as_params(DecidingSettings),
        "library": fingerprint(dump_library(settings.library)),
        "student": _student(student),
        "metric": described(metric),
        "trainset": _dataset(trainset),
        "valset": None if valset is None else _dataset(valset),
        "lms": {role: sorted(_lm(lm) for lm in used) for role, used in lms.items()},
        "prompts": fingerprint(
            *(repr(s.model_json_schema()) for s in (SummarizeRollout, ExtractAdvantage, UpdateLibrary))
        ),
    }


def circumstances_of(student: dspy.Module, metric: Metric, settings: Settings) -> Circumstances:
    """What a library that a run changes was learned under, in names for people."""
    metric_name = getattr(metric, "__qualname__", type(metric).__name__)
    return Circumstances(type(student).__name__, metric_name, one_line(settings.objective or ""))


def described(made: Any) -> str:
    """A metric, a gate, or a field of one, by what can be told of it in any process."""
    if isinstance(made, dspy.BaseLM):
        return _lm(made)
    if is_dataclass(made) and not isinstance(made, type):
        told = ", ".join(f"{f.name}={described(getattr(made, f.name))}" for f in fields(made) if f.init)
        return f"{type(made).__qualname__}({told}) {fingerprint(_source_of(type(made)))}"
    if isinstance(made, Mapping):
        return f"{{{', '.join(f'{name}: {described(value)}' for name, value in made.items())}}}"
    if isinstance(made, tuple | list) and any(isinstance(value, dspy.Example) for value in made):
        return _dataset(made)
    if isinstance(made, tuple | list):
        return f"[{', '.join(map(described, made))}]"
    if made is None or isinstance(made, str | int | float):
        return repr(made)
    return f"{getattr(made, '__qualname__', type(made).__name__)} {fingerprint(_source_of(made))}"


def _student(student: dspy.Module) -> str:
    options: tuple[str, ...] = getattr(student, "tfgrpo_options", ())  # of the command line; its tools may hold them
    return f"{type(student).__name__} {fingerprint(_state_of(student), _source_of(type(student)), *options)}"


def _source_of(made: object) -> str:
    with suppress(OSError, TypeError):
        return inspect.getsource(made)  # type: ignore[arg-type]
    return ""


def _state_of(student: dspy.Module) -> str:
    shown = {name: [p.signature.dump_state(), p.demos] for name, p in student.named_predictors()}
    return json.dumps(shown, default=str, sort_keys=True)


def _dataset(examples: Iterable[dspy.Example]) -> str:
    texts = [repr((sorted(dict(e.items()).items()), sorted(dict(e.inputs())))) for e in examples]
    return f"{len(texts)} examples {fingerprint(*texts)}"


def _lm(lm: dspy.BaseLM) -> str:
    arguments = {name: lm.kwargs[name] for name in sorted(_SAMPLING & set(lm.kwargs)) if lm.kwargs[name] is not None}
    return f"{lm.model} {json.dumps(arguments)}" if arguments else str(lm.model)
