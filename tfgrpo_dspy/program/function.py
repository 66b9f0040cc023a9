"""A program that is a function: an agent of another framework, which learns and reads a library like any program."""

from __future__ import annotations

import asyncio
import copy
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import dspy

from tfgrpo_dspy.errors import ProgramError
from tfgrpo_dspy.library.section import find_section
from tfgrpo_dspy.lm.scope import scope_here
from tfgrpo_dspy.lm.usage import Usage

StudentFunction: TypeAlias = Callable[[dict[str, Any], str], Any]
"""`function(inputs, experiences) -> output`; may be a coroutine function."""


def student_from(function: StudentFunction, signature: str | type[dspy.Signature]) -> FunctionProgram:
    """A DSPy program that calls a function, so that what is behind it, an agent of any framework say, can be a student.

    The function is called with the inputs by name and with the text of the library that it is to put into its prompt
    (empty while there is none), G times for each example, from several threads at once. It returns the outputs by name,
    or the only one; what it returns besides, e.g. the messages of the agent, is part of the trajectory that is
    compared, and so is every call of a `dspy.Tool` or a DSPy module that it makes. What it raises is sorted like an
    error of any program, docs/verdicts.md.

    A coroutine function runs in one event loop, so that its clients may keep their connections.

    What it asks of language models otherwise than by DSPy cannot be seen: it is not counted, no budget holds for it,
    and its temperature is its own. The run says so.

    Examples:
        >>> def agent(inputs, experiences):
        ...     return my_agent.run(inputs["question"], system=f"Answer briefly. {experiences}")
        >>> student = student_from(agent, "question -> answer")
        >>> better = TrainingFreeGRPO(metric, reflection_lm=lm).compile(student, trainset)  # doctest: +SKIP
        >>> better.save("agent.json")  # doctest: +SKIP
        >>> student_from(agent, "question -> answer").load("agent.json")  # doctest: +SKIP

    Args:
        function: Shared by all copies of the program, never copied itself.
        signature: Names of inputs and outputs, as for `dspy.Predict`; its instructions say what is to be done well, for
            the LM that compares attempts.

    Raises:
        ProgramError: It cannot be called with these two.
    """
    if not callable(function):
        raise ProgramError(
            f"a student is made from a function of inputs and experiences, got {type(function).__name__}: write one "
            "that calls it"
        )
    try:
        inspect.signature(function).bind({}, "")
    except TypeError as error:
        raise ProgramError(
            f"a student is made from a function that is called with inputs and experiences: {error}"
        ) from error
    except ValueError:
        pass  # what is not written in Python may not tell what it takes
    return FunctionProgram(function, signature)


class FunctionProgram(dspy.Predict):
    """What `student_from` makes: a predictor, so that a library is attached, saved and loaded as with any."""

    asks_elsewhere = True
    """It asks no LM of DSPy's."""

    def __init__(self, function: StudentFunction, signature: str | type[dspy.Signature]) -> None:
        super().__init__(signature)
        self.function = function

    @property
    def called(self) -> str:
        """The function's name."""
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return str(named.__qualname__).rpartition(".")[2]

    def __repr__(self) -> str:
        """The function, and what it takes and gives."""
        return f"student_from({self.called}, {self.signature.signature!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> FunctionProgram:
        memo[id(self.function)] = self.function  # what it holds, e.g. an agent with connections, is nobody's to copy
        made = memo[id(self)] = copy.copy(self)
        made.__dict__.update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return made

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Call the function; one that is to be awaited is waited for."""
        output = self.function(*self._given(inputs))
        return self._prediction(_LOOP.result_of(output) if inspect.isawaitable(output) else output)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Call the function, without waiting in this thread."""
        output = await asyncio.to_thread(self.function, *self._given(inputs))
        return self._prediction(await output if inspect.isawaitable(output) else output)

    def _given(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], str]:
        show = getattr(dspy.settings.adapter, "shown", None)  # of a program that retrieves, for this call
        signature = show(self.signature) if callable(show) else self.signature
        scope = scope_here()
        if scope is not None and scope.listener is not None:
            scope.listener.check()
            scope.listener.answered(Usage(cost_usd=None, calls_elsewhere=1))
        return inputs, find_section(signature.instructions)

    def _prediction(self, output: Any) -> dspy.Prediction:
        names = list(self.signature.output_fields)
        named = output.items() if isinstance(output, dspy.Prediction | Mapping) else {}
        outputs = dict(named)
        if not outputs.keys() >= {*names} and len(names) == 1 and not isinstance(output, dspy.Prediction):
            outputs = {names[0]: output}
        missing = [name for name in names if name not in outputs]
        if missing:
            raise ProgramError(
                f"{self.called} must return a mapping with {', '.join(names)}, as its signature says; it returned "
                f"{f'one without {missing[0]}' if named else f'a {type(output).__name__}'}"
            )
        return dspy.Prediction(**outputs)


async def _awaited(output: Awaitable[Any]) -> Any:
    return await output


class _Loop:
    """The one event loop of functions, in a thread of its own: a client's connections do not outlive their loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    def result_of(self, output: Awaitable[Any]) -> Any:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="tfgrpo-functions", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(_awaited(output), self._loop).result()


_LOOP = _Loop()
