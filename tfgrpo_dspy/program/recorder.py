"""What a program did during one rollout: every predictor call, tool call and LM call, seen through DSPy's callbacks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy
from dspy.clients.base_lm import GLOBAL_HISTORY
from dspy.utils.callback import BaseCallback

from tfgrpo_dspy.lm.budget import OutOfBudget
from tfgrpo_dspy.lm.listening import KEY, recorder_here, tells
from tfgrpo_dspy.lm.replies import usage_of, usage_of_result
from tfgrpo_dspy.lm.usage import Usage

if TYPE_CHECKING:
    from tfgrpo_dspy.lm.unmetered import Guard

_AGENT_LOGS = frozenset({"trajectory", "history"})
"""Inputs in which DSPy's agents hand themselves what the calls of a trajectory show already."""
_SHOWN_CALLS = 1_000
"""Calls that `dspy.inspect_history` can show during and after a run; DSPy itself would keep 10 000 prompts alive."""
_OWN_CALLS = 64
"""Calls that an LM of the run itself remembers, where nobody looks: it is a copy."""
_PROGRAM = "program"
"""In place of DSPy's id for a call that DSPy does not tell of."""
_ASK_NO_OTHER_LM = frozenset({type(None), dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter})
"""Adapters that ask the LM they are given and nothing else."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a predictor or a tool, finished."""

    kind: str
    """`predictor` or `tool`."""
    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class _Open:
    """A call of a predictor or a tool under way."""

    instance: Any
    inputs: dict[str, Any]
    aside: AbstractContextManager[None] | None = None
    """The context without the recorder's callback, to be left again."""


class Recorder(BaseCallback):
    """Records the calls of one rollout that are made in the context `recording`.

    It is a callback for what can be seen in no other way, as DSPy takes 0.03 to 0.1 ms to tell a callback of a call:
    LMs that use `Told` tell of themselves, and while a predictor asks one of these, the callback is put aside.

    Args:
        names: Predictor names by `id(predictor)`, for readable trajectories.
        guard: Told of LM calls as well.
    """

    def __init__(self, names: Mapping[int, str] | None = None, guard: Guard | None = None) -> None:
        self._guard = guard
        self.calls: list[Call] = []
        """Finished predictor and tool calls, in order of completion."""
        self.usage = Usage()
        self._names = names or {}
        self._open: dict[str, _Open] = {}
        self._lms: dict[str, Any] = {}
        self._of_agents: set[int] = set()
        self._lock = threading.Lock()  # a program may call its predictors from threads of its own

    @property
    def tool_calls(self) -> int:
        """Tool calls made, ReAct's `finish` and ReActV2's `submit` not counted: they do nothing."""
        return sum(call.kind == "tool" and call.name not in {"finish", "submit"} for call in self.calls)

    def recording(self, **settings: Any) -> AbstractContextManager[None]:
        """DSPy's context with these settings, in which every call is recorded."""
        callbacks = [*(dspy.settings.callbacks or []), self]
        context: AbstractContextManager[None] = dspy.context(callbacks=callbacks, **{KEY: self}, **settings)
        return context

    def recording_lm(self, lm: dspy.BaseLM) -> AbstractContextManager[None]:
        """DSPy's context with this LM, in which its calls are counted and nothing is recorded.

        Unless it tells of itself, the LM must be a copy of one's own.
        """
        if not tells(lm):
            lm.callbacks = [*lm.callbacks, self]
        kept = min(dspy.settings.max_history_size, _OWN_CALLS)
        context: AbstractContextManager[None] = dspy.context(lm=lm, trace=None, max_history_size=kept, **{KEY: self})
        return context

    def run(self, program: dspy.Module, inputs: dict[str, Any]) -> Any:
        """Call a program; of one that is but a predictor DSPy need not tell, it is seen from here."""
        predictor = _predictor_of(program)
        aside = None if predictor is None else self._step_aside(predictor, inputs)
        if aside is None:
            return program(**inputs)
        self._open[_PROGRAM] = _Open(predictor, inputs, aside)
        try:
            outputs = program(**inputs)
        except BaseException as error:
            self._close("predictor", _PROGRAM, None, error)
            raise
        self._close("predictor", _PROGRAM, outputs, None)
        return outputs

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if (predictor := _predictor_of(instance)) is not None:
            given = inputs.get("kwargs", inputs)
            aside = self._step_aside(predictor, given)
            if predictor is not instance and aside is None:
                return  # it will be seen itself
            left_out = _AGENT_LOGS if id(predictor) in self._of_agents else frozenset()
            shown = {name: value for name, value in given.items() if name not in left_out}
            self._open[call_id] = _Open(predictor, shown, aside)
        elif isinstance(instance, dspy.ReAct | dspy.ReActV2):
            self._of_agents |= {id(predictor) for predictor in instance.predictors()}

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._close("predictor", call_id, outputs, exception)

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        self._open[call_id] = _Open(instance, inputs.get("kwargs", inputs))

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._close("tool", call_id, outputs, exception)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if tells(instance) and recorder_here() is self:
            return
        if self._guard is not None:
            self._guard.on_lm_start(call_id, instance, inputs)
        self._lms[call_id] = instance

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        if (lm := self._lms.pop(call_id, None)) is None:
            return
        if self._guard is not None:
            self._guard.on_lm_end(call_id, outputs, exception)
        self._count(exception, Usage(lm_calls=1) if exception is not None else usage_of(lm, outputs))

    def lm_starts(self) -> None:
        """An LM that tells of itself is asked; raises if nobody waits for the rollout any more."""
        if self._guard is not None:
            self._guard.check()

    def lm_ended(self, result: Any, exception: BaseException | None) -> None:
        """It answered with DSPy's call result, or did not."""
        if self._guard is not None:
            self._guard.heed(exception)
        self._count(exception, Usage(lm_calls=1) if exception is not None else usage_of_result(result))

    def _count(self, exception: BaseException | None, usage: Usage) -> None:
        if isinstance(exception, OutOfBudget):
            return  # it was not made
        with self._lock:
            self.usage += usage
        if len(GLOBAL_HISTORY) > _SHOWN_CALLS:
            del GLOBAL_HISTORY[:-_SHOWN_CALLS]

    def _step_aside(self, predictor: dspy.Predict, given: Mapping[str, Any]) -> AbstractContextManager[None] | None:
        """Leave DSPy's callbacks if all that a predictor will do is to ask an LM that tells of itself."""
        settings = dspy.settings
        is_plain = _runs_as(predictor, dspy.Predict) and type(settings.adapter) in _ASK_NO_OTHER_LM
        if not is_plain or recorder_here() is not self:
            return None
        if not tells(given.get("lm") or predictor.lm or settings.lm):
            return None
        others = [callback for callback in settings.callbacks if callback is not self]
        aside: AbstractContextManager[None] = dspy.context(callbacks=others)
        aside.__enter__()
        return aside

    def _close(self, kind: str, call_id: str, outputs: Any, exception: BaseException | None) -> None:
        if call_id not in self._open:
            return
        opened = self._open.pop(call_id)
        if opened.aside is not None:
            opened.aside.__exit__(None, None, None)
        instance = opened.instance
        name = self._names.get(id(instance)) or getattr(instance, "name", None) or type(instance).__name__
        shown = dict(outputs.items()) if isinstance(outputs, dspy.Prediction) else {"": outputs}
        error = None if exception is None else f"{type(exception).__name__}: {exception}"
        self.calls.append(Call(kind, name, opened.inputs, {} if exception is not None else shown, error))


def _predictor_of(module: Any) -> dspy.Predict | None:
    """The predictor that a call of this module is a call of; None if it may be anything else."""
    if isinstance(module, dspy.Predict):
        return module
    return module.predict if _runs_as(module, dspy.ChainOfThought) else None


def _runs_as(module: Any, kind: type[dspy.Module]) -> bool:
    own = type(module)
    is_plain = isinstance(module, kind) and not {"forward", "aforward"} & vars(module).keys()
    return is_plain and (own.forward, own.aforward) == (kind.forward, kind.aforward)
