"""An agent whose rollout is lost, rather than scored, when the machinery of one of its tools breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dspy

from programs.rollout_local import RolloutLocal

__all__ = ["ToolAgent"]

_broken: RolloutLocal[list[ConnectionError]] = RolloutLocal("broken_tools")
"""What broke in the rollout; threads and tasks share an agent, so it cannot keep it."""


class ToolAgent(dspy.ReAct):
    """`dspy.ReAct` that does not take a broken tool for an observation.

    ReAct shows every error of a tool to the model and goes on. That is right for the model's mistakes. But a rollout
    whose sandbox or search service broke says nothing about the model, so a `ConnectionError` of a tool ends it before
    the next call of the LM, and leaves the program as it is: the rollout is counted as lost.

    Args:
        signature: Inputs and outputs of the task.
        tools: Functions or `dspy.Tool` instances.
        max_iters: Turns at most.
    """

    def __init__(self, signature: Any, tools: list[Callable[..., Any]], max_iters: int = 20) -> None:
        super().__init__(signature, tools, max_iters)
        self.tools = {name: _Watched.of(tool) for name, tool in self.tools.items()}

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Solve the task of the inputs.

        Raises:
            ConnectionError: A tool broke.
        """
        with _broken.holding([]):
            return super().forward(**inputs)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Solve the task of the inputs.

        Raises:
            ConnectionError: A tool broke.
        """
        with _broken.holding([]):
            return await super().aforward(**inputs)

    # Both are private to dspy 3.4, and the one place of its loop that lets an error out.

    def _call_with_potential_trajectory_truncation(self, module: Any, trajectory: Any, **inputs: Any) -> Any:
        _raise_what_broke()
        return super()._call_with_potential_trajectory_truncation(module, trajectory, **inputs)

    async def _async_call_with_potential_trajectory_truncation(
        self, module: Any, trajectory: Any, **inputs: Any
    ) -> Any:
        _raise_what_broke()
        return await super()._async_call_with_potential_trajectory_truncation(module, trajectory, **inputs)


class _Watched(dspy.Tool):
    """A tool whose breakdowns are noted."""

    @classmethod
    def of(cls, tool: dspy.Tool) -> _Watched:
        return cls(tool.func, tool.name, tool.desc, tool.args, tool.arg_types, tool.arg_desc)

    def __call__(self, **arguments: Any) -> Any:
        with _noting():
            return super().__call__(**arguments)

    async def acall(self, **arguments: Any) -> Any:
        with _noting():
            return await super().acall(**arguments)


@contextmanager
def _noting() -> Iterator[None]:
    try:
        yield
    except ConnectionError as error:
        if (broken := _broken.get()) is not None:
            broken.append(error)
        raise


def _raise_what_broke() -> None:
    if broken := _broken.get():
        raise broken[0]
