"""What rollouts said, on disk: a run keeps the place of it, so that its memory does not grow with them.

The texts of a rollout go there as soon as it is made; the rest of it, and what was made of it, once its step is over.
"""

from __future__ import annotations

import pickle
import threading
import weakref
from collections.abc import Sequence
from dataclasses import fields
from io import BytesIO
from itertools import accumulate
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import dspy

from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Group, Rollout, Scored

if TYPE_CHECKING:
    from tfgrpo_dspy.records.advantages import SemanticAdvantage
    from tfgrpo_dspy.records.evaluation import Evaluation

_IN_MEMORY = 1 << 20
"""Bytes that are worth no file (1 MiB)."""


class Spill:
    """A file without a name, which is there as long as a value refers to it."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the next line but one closes it
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def take(self, rollout: Rollout) -> Rollout:
        """An equal rollout with its texts on disk; the same one if it is lost, or the disk is full."""
        if not isinstance(rollout, Scored):
            return rollout
        texts = [getattr(rollout, name).encode("utf-8", "surrogatepass") for name in _TEXTS]
        start = self._write(b"".join(texts))
        if start is None:
            return rollout
        spilled: Rollout = _SpilledRollout.of(rollout, _Texts(self, tuple(accumulate(map(len, texts), initial=start))))
        return spilled

    def take_step(self, record: StepRecord) -> StepRecord:
        """An equal record with its rollouts, advantages and validation on disk; the same one if the disk is full.

        Each is read again whenever it is looked at.
        """
        packed, kept, ends = BytesIO(), {id(self): self}, []
        for name in _PARTS:
            _Packer(packed, kept).dump(getattr(record, name))
            ends.append(packed.tell())
        start = self._write(packed.getvalue())
        if start is None:
            return record
        spilled: StepRecord = _SpilledStep.of(record, _Parts(self, (start, *(start + end for end in ends)), kept))
        return spilled

    def read(self, start: int, size: int) -> bytes:
        """What was written there."""
        if not size:
            return b""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)

    def _write(self, data: bytes) -> int | None:
        """Where it begins; None if the disk is full."""
        try:
            with self._lock:
                start = self._file.seek(0, 2)
                self._file.write(data)
        except OSError:
            return None
        return start


_TEXTS = ("trajectory", "feedback", "answer")
_PARTS = ("groups", "advantages", "validation")


class _Texts(NamedTuple):
    """Where the texts of a rollout are: each from one bound to the next."""

    spill: Spill
    bounds: tuple[int, ...]

    def read(self, name: str) -> str:
        start, end = self.bounds[(at := _TEXTS.index(name)) : at + 2]
        return self.spill.read(start, end - start).decode("utf-8", "surrogatepass")


class _Parts(NamedTuple):
    """Where the parts of a step's record are: a pickle each, from one bound to the next."""

    spill: Spill
    bounds: tuple[int, ...]
    kept: dict[int, Any]
    """What they refer to, by `id`."""

    def read(self, name: str) -> Any:
        start, end = self.bounds[(at := _PARTS.index(name)) : at + 2]
        return _Unpacker(self.spill.read(start, end - start), self.kept).load()


class _OnDisk:
    """Stands for a frozen value and equals it; pickled, copied or replaced it becomes an ordinary one.

    Its class names what it stands for, and which fields are `at_hand`; the others it reads from its `_place`.
    """

    __slots__ = ()
    plain: ClassVar[type[Any]]
    at_hand: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, plain: type[Any], on_disk: Sequence[str]) -> None:
        cls.plain = plain
        cls.at_hand = tuple(f.name for f in fields(plain) if f.name not in on_disk)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.plain(*args, **kwargs)

    @classmethod
    def of(cls, value: Any, place: Any) -> Any:
        """What stands for a value."""
        return cls.again([getattr(value, name) for name in cls.at_hand], place)

    @classmethod
    def again(cls, at_hand: Sequence[Any], place: Any) -> Any:
        """The same from its parts."""
        made = object.__new__(cls)
        for name, value in zip((*cls.at_hand, "_place"), (*at_hand, place), strict=True):
            object.__setattr__(made, name, value)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, self.plain) and _values(self, self.plain) == _values(other, self.plain)

    def __hash__(self) -> int:
        return hash(_values(self, self.plain))

    def __reduce__(self) -> tuple[type[Any], tuple[Any, ...]]:
        return self.plain, _values(self, self.plain)


def _values(value: Any, plain: type[Any]) -> tuple[Any, ...]:
    return tuple(getattr(value, f.name) for f in fields(plain))


class _SpilledRollout(_OnDisk, Scored, plain=Scored, on_disk=_TEXTS):
    """A rollout whose texts are on disk."""

    __slots__ = ("_place",)
    _place: _Texts

    @property
    def trajectory(self) -> str:
        return self._place.read("trajectory")

    @property
    def feedback(self) -> str:
        return self._place.read("feedback")

    @property
    def answer(self) -> str:
        return self._place.read("answer")


class _SpilledStep(_OnDisk, StepRecord, plain=StepRecord, on_disk=_PARTS):
    """A step's record whose parts are on disk."""

    __slots__ = ("_place",)
    _place: _Parts

    @property
    def groups(self) -> tuple[Group, ...]:
        groups: tuple[Group, ...] = self._place.read("groups")
        return groups

    @property
    def advantages(self) -> tuple[SemanticAdvantage, ...]:
        advantages: tuple[SemanticAdvantage, ...] = self._place.read("advantages")
        return advantages

    @property
    def validation(self) -> Evaluation | None:
        validation: Evaluation | None = self._place.read("validation")
        return validation


class _Packer(pickle.Pickler):
    """Pickles parts of a record, but refers to what stays anyway: the examples, and texts that are on disk already."""

    def __init__(self, file: BytesIO, kept: dict[int, Any]) -> None:
        super().__init__(file)
        self._kept = kept

    def persistent_id(self, value: Any) -> int | None:
        if isinstance(value, dspy.Example):
            self._kept[id(value)] = value
        return id(value) if id(value) in self._kept else None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, _SpilledRollout) and id(value._place.spill) in self._kept:
            return _SpilledRollout.again, ([getattr(value, name) for name in value.at_hand], value._place)
        return NotImplemented


class _Unpacker(pickle.Unpickler):
    """Reads them back."""

    def __init__(self, data: bytes, kept: dict[int, Any]) -> None:
        super().__init__(BytesIO(data))
        self._kept = kept

    def persistent_load(self, id: int) -> Any:
        return self._kept[id]
