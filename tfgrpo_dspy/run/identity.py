"""What decides the outcome of a run, by name: a run is taken up only by a run of the same identity."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import dspy

from tfgrpo_dspy.library.experience import Circumstances
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.settings import DecidingSettings, Settings
from tfgrpo_dspy.signatures import (
    ExtractAdvantage,
    PlaceLesson,
    ReviseLesson,
    SummarizeRollout,
    UpdateLibrary,
    WeighLesson,
)
from tfgrpo_dspy.text import fingerprint, one_line

if TYPE_CHECKING:
    from tfgrpo_dspy.run.by_value import ByValue
    from tfgrpo_dspy.run.setup import Setup

logger = logging.getLogger(__name__)

_NAMED = 5
"""Things that cannot be told which a message names at most."""
_PROMPTS = (SummarizeRollout, ExtractAdvantage, ReviseLesson, PlaceLesson, WeighLesson, UpdateLibrary)


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
        student: Without any library; by its code and that which it calls, by all that it holds, its tools included.
        metric: By its code and that which it calls, by what it closes over, holds or was given.
        trainset: By content and order.
        valset: The same; None for none.
        lms: Role to LMs, by model, endpoint and every option but secrets.
    """
    from tfgrpo_dspy.run.by_value import ByValue

    return _identity(ByValue(), settings, student, metric, (trainset, valset), lms)


def _identity(
    told: ByValue,
    settings: Settings,
    student: dspy.Module,
    metric: Metric,
    data: tuple[Iterable[dspy.Example], Iterable[dspy.Example] | None],
    lms: Mapping[str, Iterable[dspy.BaseLM]],
) -> dict[str, Any]:
    from tfgrpo_dspy.library.file import dump_library
    from tfgrpo_dspy.run.by_value import lm_text

    trainset, valset = data
    options: tuple[str, ...] = getattr(student, "tfgrpo_options", ())  # of the command line
    own = {name: getattr(settings, name) for name in ("count_tokens", "retrieval")}
    return {
        **settings.as_params(DecidingSettings),
        **{name: told(value, name) for name, value in own.items() if value is not None},
        "library": fingerprint(dump_library(settings.library)),
        "student": f"{told(student, type(student).__name__)} {fingerprint(*options)}",
        "metric": told(metric, "metric"),
        "trainset": _dataset(told, "trainset", trainset),
        "valset": None if valset is None else _dataset(told, "valset", valset),
        "lms": {role: sorted(map(lm_text, used)) for role, used in lms.items()},
        "adapter": "default" if dspy.settings.adapter is None else told(dspy.settings.adapter, "adapter"),
        "prompts": fingerprint(*(repr(s.model_json_schema()) for s in _PROMPTS)),
        "versions": {
            **{name: version(name) for name in ("tfgrpo-dspy", "dspy")},
            "python": ".".join(map(str, sys.version_info[:2])),
        },
    }


def identity_of_run(
    setup: Setup,
    settings: Settings,
    student: dspy.Module,
    data: tuple[Iterable[dspy.Example], Iterable[dspy.Example] | None, object],
    lms: Mapping[str, Iterable[dspy.BaseLM]],
) -> dict[str, Any]:
    """`identity_of` a run with those who rule on it; what cannot be told is named to the user, who may tell it.

    Args:
        setup: Who scores, reflects and rules.
        settings: See `identity_of`; so are `student` and `lms`.
        student: See above.
        data: Trainset, valset, rollouts that were recorded before; None for none.
        lms: See above.
    """
    from tfgrpo_dspy.run.by_value import ByValue

    told = ByValue()
    trainset, valset, past = data
    identity = _identity(told, settings, student, setup.metric, (trainset, valset), lms)
    if past is not None:
        identity["rollouts"] = told(past, "rollouts")
    if setup.review is not None:
        identity["review"] = True
    if setup.gate is not None:
        identity["gate"] = told(setup.gate, "gate")
    if setup.identity is not None:
        identity["named"] = setup.identity
    elif told.untold:
        logger.warning(
            "whether these are the same when the run is taken up cannot be told: %s; if they may change, name what "
            "they are with `identity=`, e.g. a version",
            ", ".join([*list(told.untold)[:_NAMED], *(["..."] if len(told.untold) > _NAMED else [])]),
        )
    return identity


def circumstances_of(student: dspy.Module, metric: Metric, objective: str) -> Circumstances:
    """What a library that a run changes was learned under, in names for people."""
    metric_name = getattr(metric, "__qualname__", type(metric).__name__)
    return Circumstances(type(student).__name__, metric_name, one_line(objective))


def _dataset(told: ByValue, name: str, examples: Iterable[dspy.Example]) -> str:
    texts = [told(example, f"{name}[{position}]") for position, example in enumerate(examples)]
    return f"{len(texts)} examples {fingerprint(*texts)}"
