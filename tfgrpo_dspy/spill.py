"""What rollouts said, on disk: a run keeps the place of each text, so that its memory does not grow with them."""

from __future__ import annotations

import threading
import weakref
from dataclasses import fields
from itertools import accumulate
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple

from tfgrpo_dspy.group import Rollout, Scored

_IN_MEMORY = 1 << 20
"""Bytes of texts that are worth no file (1 MiB)."""


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
        try:
            with self._lock:
                start = self._file.seek(0, 2)
                self._file.write(b"".join(texts))
        except OSError:
            return rollout
        return _Spilled.of(rollout, _Place(self, tuple(accumulate(map(len, texts), initial=start))))

    def read(self, start: int, end: int) -> str:
        """A text that was written there."""
        if start == end:
            return ""
        with self._lock:
            self._file.seek(start)
            return self._file.read(end - start).decode("utf-8", "surrogatepass")


class _Place(NamedTuple):
    """Where the texts of a rollout are: each from one bound to the next."""

    spill: Spill
    bounds: tuple[int, ...]

    def read(self, text: str) -> str:
        at = _TEXTS.index(text)
        return self.spill.read(self.bounds[at], self.bounds[at + 1])


_TEXTS = ("trajectory", "feedback", "answer")
_REST = tuple(f.name for f in fields(Scored) if f.name not in _TEXTS)


class _Spilled(Scored):
    """A rollout whose texts are read from disk whenever they are looked at."""

    __slots__ = ("_place",)
    _place: _Place

    def __new__(cls, *args: Any, **kwargs: Any) -> Scored:  # type: ignore[misc]
        return Scored(*args, **kwargs)  # what `dataclasses.replace` makes of it is an ordinary one

    @classmethod
    def of(cls, rollout: Scored, place: _Place) -> _Spilled:
        spilled: _Spilled = object.__new__(cls)
        for name in _REST:
            object.__setattr__(spilled, name, getattr(rollout, name))
        object.__setattr__(spilled, "_place", place)
        return spilled

    @property
    def trajectory(self) -> str:
        return self._place.read("trajectory")

    @property
    def feedback(self) -> str:
        return self._place.read("feedback")

    @property
    def answer(self) -> str:
        return self._place.read("answer")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scored) and _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash(_values(self))

    def __reduce__(self) -> tuple[type[Scored], tuple[Any, ...]]:
        return Scored, _values(self)


def _values(rollout: Scored) -> tuple[Any, ...]:
    return tuple(getattr(rollout, f.name) for f in fields(Scored))
