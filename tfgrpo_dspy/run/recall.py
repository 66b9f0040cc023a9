"""The events of a run once more, of what its store holds: for who was not there to listen. Nothing is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import dspy

from tfgrpo_dspy.declaration import settings_of
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.program.values import Things, as_text
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.events import EpochFinished, Event, RunFinished, RunStarted, StepFinished
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.run.ending import best_step, what_was_next
from tfgrpo_dspy.runtime.kept import adapter, result_again, step_again
from tfgrpo_dspy.runtime.store import OUTCOME, START
from tfgrpo_dspy.settings import Settings

if TYPE_CHECKING:
    from tfgrpo_dspy.runtime.stored import Stored


class Past(NamedTuple):
    """An event, and when it took place."""

    at: int
    """Milliseconds since 1970: as far as steps are known to have taken time."""
    event: Event


def start_as_json(started: RunStarted) -> dict[str, Any]:
    """What there is to say of a run's start without its program and its LMs."""
    student, params = type(started.student), started.settings.as_params()
    settings = {name: getattr(started.settings, name) for name in settings_of(Settings)}
    return {
        "student": [student.__module__, student.__qualname__],
        "settings": {name: value for name, value in settings.items() if _is_json(value)},
        "params": {name: value if _is_json(value) else str(value) for name, value in params.items()},
        "trainset": [_row(example) for example in started.trainset],
        "valset": None if started.valset is None else [_row(example) for example in started.valset],
        "library": adapter(ExperienceLibrary).dump_python(started.library, mode="json"),
        "lms": dict(started.lms),
        "steps": started.steps,
        "rollouts": started.rollouts,
        "resumed": started.resumed,
    }


def recall(stored: Stored) -> Iterator[Past]:
    """The events of a run that is over, from its store: start, steps, epochs, end.

    One that was killed ends as interrupted. Objects among its settings are what can be told of them, its program is a
    name.

    Raises:
        DataError: It does not say what run it is of.
        StoreError: A record of it is damaged.
    """
    value = stored.facts.get(START)
    if value is None:
        raise DataError(f"{stored.path} does not say what its run set out to do; run the command again, which does")
    at = int(datetime.strptime(stored.facts["made"], "%Y-%m-%dT%H:%M:%S%z").timestamp() * 1000)
    started = _start(value, stored.facts.get("token"))
    yield Past(at, started)
    examples = started.trainset, started.valset or ()
    records = tuple(step_again(number, step, examples, stored) for number, step in stored.steps.items())
    each = max(started.steps // started.settings.epochs, 1)
    for record in records:
        at += int(record.seconds * 1000)
        yield Past(at, StepFinished(record))
        if record.step % each == 0:
            yield Past(at, EpochFinished(record.epoch, record.library))
    outcome = stored.facts.get(OUTCOME)
    if outcome is None:
        # What was learned by a run that was killed.
        library = records[-1].library if records else started.library
        ended = Ended("interrupted", "", len(records), started.steps, what_was_next(records, started.steps))
        best = best_step([None, *(record.validation for record in records)])
        result = CompileResult(library, records, started.library, best, ended=ended)
    else:
        result = result_again(outcome, records, started.library, examples, stored)
    yield Past(at, RunFinished(result, None))


class _Recalled(Settings):
    """Settings of a run of which only values are known, and of objects what was told of them."""

    told: Mapping[str, object]

    def as_params(self, declared_by: type | None = None) -> dict[str, object]:
        """As they were told."""
        names = settings_of(declared_by or Settings)
        return {name: value for name, value in self.told.items() if name in names}


def _start(value: Mapping[str, Any], token: str | None) -> RunStarted:
    library = adapter(ExperienceLibrary).validate_python(value["library"], strict=False)
    plain = {name: _tuple(one) for name, one in value["settings"].items()}
    told = {name: _tuple(one) for name, one in value["params"].items()}
    settings = object.__new__(_Recalled)  # what it was checked with is not here
    vars(settings).update({**vars(Settings()), **plain, "library": library, "told": told})
    module, name = value["student"]
    student = type(name, (dspy.Module,), {"__module__": module})()
    valset = None if value["valset"] is None else tuple(map(_example, value["valset"]))
    trainset = tuple(map(_example, value["trainset"]))
    planned = value["steps"], value["rollouts"]
    return RunStarted(settings, student, trainset, valset, library, value["lms"], *planned, token, value["resumed"])


def _row(example: dspy.Example) -> list[Any]:
    """Fields and names of inputs."""
    things = Things()
    fields = {name: value if _is_json(value) else as_text(value, things) for name, value in example.items()}
    return [fields, sorted(example.inputs().keys())]


def _example(row: Sequence[Any]) -> dspy.Example:
    fields, inputs = row
    return dspy.Example(**fields).with_inputs(*inputs)


def _is_json(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | float | bool)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
