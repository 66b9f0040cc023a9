"""Values whose large parts are in the store of a run: equal to what they stand for, and read whenever looked at.

Pickled, copied or replaced they become plain values, which need no store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, get_type_hints

from pydantic import TypeAdapter

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.evaluation import Evaluation, Gain
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Rollout, Scored, Unscored

if TYPE_CHECKING:
    import dspy

LONG = ("trajectory", "feedback", "answer")
"""Fields of a rollout that are texts of any length."""
_PARTS = ("groups", "advantages", "validation")
"""Fields of a step that grow with its rollouts."""


def _kinds(plain: type[Any], *without: str) -> Mapping[str, Any]:
    """Field to type, but for those fields that are kept in a way of their own."""
    named = {one.__name__: one for one in (Effect, Evaluation, Gain)}  # which a step's module names for checkers only
    hints = get_type_hints(plain, localns=named)
    return {name: kind for name, kind in hints.items() if name not in without}


_STEP = _kinds(StepRecord, "epoch", "step", "seconds", *_PARTS)
_JUDGED = _kinds(Evaluation, "groups")
_RESULT = _kinds(CompileResult, "steps", "initial_library", "initial_validation", "unrecorded")

Examples = tuple[Sequence["dspy.Example"], Sequence["dspy.Example"]]
"""Of trainset and valset."""
Put = Callable[[str, Any], int]
"""Writes a named part as JSON; returns its number."""


class Shelf(Protocol):
    """Where they are read from."""

    def part(self, number: int) -> Any:
        """The long texts of a rollout, a part of a step's record, or the record of its parts, as a JSON value."""


@cache
def adapter(kind: Any) -> Any:
    """Turns values of a type into JSON values and back.

    Made in a thread of its own: pydantic turns an interrupt that comes meanwhile into an error of the type.
    """
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(TypeAdapter, kind).result()


def _again(kind: Any, value: Any) -> Any:
    return adapter(kind).validate_python(value, strict=False)


def taken_apart(made: Any, kind: Any) -> tuple[Any, dict[str, str]]:
    """A value as JSON, and the long texts that were taken out of it, if it is a rollout."""
    value = adapter(kind).dump_python(made, mode="json")
    if not isinstance(made, Scored | Unscored):
        return value, {}
    return value, {name: value.pop(name) for name in LONG if name in value}


def put_together(value: Any, kind: Any, shelf: Shelf) -> Any:
    """The value again: a scored rollout without its texts, which stay on the shelf."""
    if not isinstance(value, dict) or not isinstance(number := value.get("texts"), int):
        return _again(kind, value)
    rest = {name: part for name, part in value.items() if name != "texts"}
    if "outputs" in rest:  # it will be scored at once, for which it is needed as it is
        return _again(kind, {**rest, **shelf.part(number)})
    return on_shelf(_again(kind, {**rest, **dict.fromkeys(LONG, "")}), shelf, number)


def on_shelf(rollout: Scored, shelf: Shelf, number: int) -> Scored:
    """The rollout without its texts, which are on the shelf."""
    kept: Scored = _KeptRollout.of(rollout, _Texts(shelf, number))
    return kept


def step_on_shelf(record: StepRecord, shelf: Shelf, number: int) -> StepRecord:
    """The step without its parts, which are on the shelf; the examples are those that it had."""
    judged = record.validation
    validated = judged.groups if judged is not None else ()
    examples = tuple(g.example for g in record.groups), tuple(g.example for g in validated)
    head = replace(judged, groups=()) if judged is not None else None
    kept: StepRecord = _KeptStep.of(record, _Parts(shelf, number, *examples, head))
    return kept


def step_as_json(record: StepRecord, shelf: Shelf, put: Put) -> dict[str, Any]:
    """What a step did in short, and the parts of its record, each written by itself, by their numbers.

    Args:
        record: What was done.
        shelf: Texts that are on it already are referred to.
        put: Writes one part.
    """
    judged = record.validation
    advantages = [adapter(SemanticAdvantage).dump_python(a, mode="json") for a in record.advantages]
    return {
        "epoch": record.epoch,
        "seconds": round(record.seconds, 3),
        "experiences": len(record.library),
        "validation_mean": judged.mean.value if judged is not None else None,
        "changes": [change.kind for change in record.changes],
        "refusals": len(record.refusals),
        "failures": [asdict(failure) for failure in record.failures],
        "groups": _put_groups("training", record.groups, shelf, put),
        "advantages": [put(f"advantage {i} of s{record.step}", made) for i, made in enumerate(advantages)],
        "validation": [] if judged is None else _put_groups("validation", judged.groups, shelf, put),
        "judged": None if judged is None else _fields(judged, _JUDGED),
        "rest": put(f"rest of s{record.step}", _fields(record, _STEP)),
    }


def step_again(number: int, value: Mapping[str, Any], examples: Examples, shelf: Shelf) -> StepRecord:
    """The record of a step, of the JSON value that the store has of it.

    Args:
        number: The step's.
        value: As `step_as_json` made it.
        examples: Of trainset and valset.
        shelf: Where its parts are.
    """
    return StepRecord(
        epoch=value["epoch"],
        step=number,
        seconds=value["seconds"],
        groups=_groups_again(value["groups"], examples[0], shelf),
        advantages=_advantages_again(value["advantages"], shelf),
        validation=_evaluation_again(value["judged"], value["validation"], examples[1], shelf),
        **_read(shelf.part(value["rest"]), _STEP),
    )


def result_as_json(result: CompileResult, shelf: Shelf, put: Put) -> dict[str, Any]:
    """What a run came to, besides its steps."""
    judged = result.initial_validation
    return {
        **_fields(result, _RESULT),
        "judged": None if judged is None else _fields(judged, _JUDGED),
        "validation": [] if judged is None else _put_groups("validation", judged.groups, shelf, put),
    }


def result_again(
    value: Mapping[str, Any], steps: tuple[StepRecord, ...], start: ExperienceLibrary, examples: Examples, shelf: Shelf
) -> CompileResult:
    """The result of a run, of the JSON value that the store has of it, its steps and the library it began with."""
    initial = _evaluation_again(value["judged"], value["validation"], examples[1], shelf)
    return CompileResult(steps=steps, initial_library=start, initial_validation=initial, **_read(value, _RESULT))


def _fields(made: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: adapter(kind).dump_python(getattr(made, name), mode="json") for name, kind in kinds.items()}


def _read(value: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _again(kind, value[name]) for name, kind in kinds.items()}


def _advantages_again(numbers: Sequence[int], shelf: Shelf) -> tuple[SemanticAdvantage, ...]:
    return tuple(_again(SemanticAdvantage, shelf.part(number)) for number in numbers)


def _evaluation_again(
    judged: Mapping[str, Any] | None, numbers: Sequence[int], examples: Sequence[dspy.Example], shelf: Shelf
) -> Evaluation | None:
    if judged is None:
        return None
    return Evaluation(groups=_groups_again(numbers, examples, shelf), **_read(judged, _JUDGED))


def _groups_again(numbers: Sequence[int], examples: Sequence[dspy.Example], shelf: Shelf) -> tuple[Group, ...]:
    """Groups by their numbers; the name of each, `s1/e12`, says which example it is about."""
    values = [shelf.part(number) for number in numbers]
    return tuple(_group_again(v, examples[int(v["name"].rpartition("/e")[2])], shelf) for v in values)


def _put_groups(what: str, groups: Sequence[Group], shelf: Shelf, put: Put) -> list[int]:
    numbers = []
    for group in groups:
        rollouts = [_rollout_as_json(rollout, shelf) for rollout in group.rollouts]
        numbers.append(put(f"{what} {group.name}", {"name": group.name, "first": group.first, "rollouts": rollouts}))
    return numbers


def _rollout_as_json(rollout: Rollout, shelf: Shelf) -> dict[str, Any]:
    if isinstance(rollout, _KeptRollout) and rollout._place.shelf is shelf:
        plain = Scored(**{**dict.fromkeys(LONG, ""), **{name: getattr(rollout, name) for name in rollout.at_hand}})
        value, _ = taken_apart(plain, Scored)
        return {**value, "texts": rollout._place.number}
    return dict(adapter(Rollout).dump_python(rollout, mode="json"))


def _group_again(value: Mapping[str, Any], example: dspy.Example, shelf: Shelf) -> Group:
    rollouts = tuple(put_together(rollout, Scored | Lost, shelf) for rollout in value["rollouts"])
    return Group(value["name"], example, rollouts, value["first"])


class _Texts(NamedTuple):
    """Where the texts of a rollout are."""

    shelf: Shelf
    number: int

    def read(self, name: str) -> str:
        return str(self.shelf.part(self.number)[name])


class _Parts(NamedTuple):
    """Where the parts of a step's record are."""

    shelf: Shelf
    number: int
    examples: tuple[dspy.Example, ...]
    """Of its groups."""
    validated: tuple[dspy.Example, ...]
    """Of the groups of its validation."""
    judged: Evaluation | None
    """Its validation without groups."""

    def read(self, name: str) -> Any:
        value = self.shelf.part(self.number)[name]
        if name == "groups":
            return self._groups(value, self.examples)
        if name == "advantages":
            return _advantages_again(value, self.shelf)
        return None if self.judged is None else replace(self.judged, groups=self._groups(value, self.validated))

    def _groups(self, numbers: Sequence[int], examples: Sequence[dspy.Example]) -> tuple[Group, ...]:
        shelf = self.shelf
        return tuple(_group_again(shelf.part(n), example, shelf) for n, example in zip(numbers, examples, strict=True))


class _Kept:
    """Stands for a frozen value and equals it: fields that are not `at_hand` it reads from its `_place`."""

    __slots__ = ()
    plain: ClassVar[type[Any]]
    at_hand: ClassVar[tuple[str, ...]]
    in_store: ClassVar[Sequence[str]]
    _place: Any

    def __init_subclass__(cls, plain: type[Any], in_store: Sequence[str]) -> None:
        cls.plain, cls.in_store = plain, in_store
        cls.at_hand = tuple(f.name for f in fields(plain) if f.name not in in_store)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.plain(*args, **kwargs)

    @classmethod
    def of(cls, value: Any, place: Any) -> Any:
        """What stands for a value."""
        made = object.__new__(cls)
        for name in cls.at_hand:
            object.__setattr__(made, name, getattr(value, name))
        object.__setattr__(made, "_place", place)
        return made

    def __getattr__(self, name: str) -> Any:  # asked where a slot is empty
        if name not in type(self).in_store:
            raise AttributeError(name)
        return self._place.read(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, self.plain) and _values(self, self.plain) == _values(other, self.plain)

    def __hash__(self) -> int:
        return hash(_values(self, self.plain))

    def __reduce__(self) -> tuple[type[Any], tuple[Any, ...]]:
        return self.plain, _values(self, self.plain)


def _values(value: Any, plain: type[Any]) -> tuple[Any, ...]:
    return tuple(getattr(value, f.name) for f in fields(plain))


class _KeptRollout(_Kept, Scored, plain=Scored, in_store=LONG):
    """A rollout whose texts are in the store."""

    __slots__ = ("_place",)


class _KeptStep(_Kept, StepRecord, plain=StepRecord, in_store=_PARTS):
    """A step's record whose parts are in the store."""

    __slots__ = ("_place",)
