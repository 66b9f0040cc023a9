"""LMs that tell of their calls themselves: who listens is in DSPy's context, which its own threads inherit."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

import dspy

KEY = "tfgrpo_recorder"
"""The listener's name in DSPy's context."""


class Listener(Protocol):
    """Hears of the calls that LMs make."""

    def lm_starts(self) -> None:
        """One is about to be made; raises to prevent it."""

    def lm_ended(self, result: Any, exception: BaseException | None) -> None:
        """It answered with DSPy's call result, or did not."""

    def run(self, program: dspy.Module, inputs: dict[str, Any]) -> Any:
        """Call a program."""


def recorder_here() -> Listener | None:
    """Who listens in the present context, if anyone."""
    recorder: Listener | None = dspy.settings.get(KEY)
    return recorder


def tells(lm: Any) -> bool:
    """Whether an LM uses `Told`: its class has `tfgrpo_tells = True`."""
    return getattr(lm, "tfgrpo_tells", False)


class Told:
    """One call of an LM, told to who listens; DSPy takes longer over a callback than over most of what one does."""

    __slots__ = ("_recorder", "result")

    def __init__(self) -> None:
        self._recorder = recorder_here()
        self.result: Any = None
        """DSPy's call result, to be set."""

    def __enter__(self) -> Told:
        if self._recorder is not None:
            self._recorder.lm_starts()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._recorder is not None:
            self._recorder.lm_ended(self.result, error)
