"""What belongs to one rollout, though its program is shared by many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class RolloutLocal(Generic[T]):
    """A context variable that can be pickled, empty, with the code that refers to it.

    Programs are sent to other processes and logged as models together with the module they are from.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._variable: ContextVar[T | None] = ContextVar(name, default=None)

    def __reduce__(self) -> tuple[type[RolloutLocal[T]], tuple[str]]:
        return type(self), (self._name,)

    def get(self) -> T | None:
        """The value in this context; None outside of `holding`, unless one was set."""
        return self._variable.get()

    def set(self, value: T) -> None:
        """Give this context a value, for good."""
        self._variable.set(value)

    @contextmanager
    def holding(self, value: T) -> Iterator[T]:
        """The value is this context's inside."""
        before = self._variable.set(value)
        try:
            yield value
        finally:
            self._variable.reset(before)
