"""What a program did during one rollout: every predictor call and tool call, seen through DSPy's callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from tfgrpo_dspy.lm.budget import POLICY, Due, Kind
from tfgrpo_dspy.lm.host import hold_engines_of
from tfgrpo_dspy.lm.scope import Draw, Listener, active_meter, asking
from tfgrpo_dspy.lm.undocumented import forget_calls_before
from tfgrpo_dspy.looks.secrets import SECRETS

_AGENT_LOGS = frozenset({"trajectory", "history"})
"""Inputs in which DSPy's agents hand themselves what the calls of a trajectory show already."""
_ASK_NO_PREDICTOR = frozenset({type(None), dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter})
"""Adapters that ask the LM they are given and nothing else."""
_SHOWN = 1_000
"""Calls of a run that `dspy.inspect_history` can show at least."""
_REMEMBERED = 64
"""Calls that each LM and module remembers; DSPy's own bound lets the prompts of 10 000 rollouts pile up."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a predictor or a tool, finished."""

    kind: str
    """`predictor` or `tool`."""
    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    error: str | None


class Recorder(Listener, BaseCallback):
    """Records the calls of one rollout that are made in the context `recording`.

    It is a callback only for programs that do more than call a predictor: DSPy takes 0.1 ms a call to tell callbacks.
    """

    def __init__(self, names: Mapping[int, str] | None = None) -> None:
        super().__init__()
        self.calls: list[Call] = []
        """Finished predictor and tool calls, in order of completion."""
        self.failures: list[BaseException] = []
        """What LMs and modules raised, though the program may have made something else of it, in that order."""
        self.is_answered = False
        """Whether any LM answered, of which DSPy tells."""
        self.unlisted: set[str] = set()
        """Predictors that were called and are none of `names`, nor copies of them, nor DSPy's own."""
        self._names = names or {}
        self._predictor: dspy.Predict | None = None
        """What is called, if it is but a predictor: DSPy need not tell of it."""
        self._open: dict[str, tuple[Any, Mapping[str, Any]]] = {}
        self._of_agents: set[int] = set()

    @property
    def tool_calls(self) -> int:
        """Tool calls made, ReAct's `finish` and ReActV2's `submit` not counted: they do nothing."""
        return sum(call.kind == "tool" and call.name not in {"finish", "submit"} for call in self.calls)

    def recording(
        self, program: dspy.Module | None = None, draw: Draw | None = None, due: Due | None = None, **settings: Any
    ) -> AbstractContextManager[None]:
        """DSPy's context with these settings, in which the calls of a program are recorded.

        Args:
            program: What is called in it; None for anything.
            draw: Which draw the calls are part of; None for none.
            due: What they must leave of a budget for learning; None for nothing.
            **settings: Further ones of DSPy's.
        """
        self._predictor = None if program is None else _predictor_of(program)
        if self._predictor is None:
            settings["callbacks"] = [*(dspy.settings.callbacks or []), self]
        bounded = _bounded_history(self._predictor is not None)
        # Agents that are called as functions wait for coroutine tools (those of MCP); by default DSPy fails them.
        settings = {"allow_tool_async_sync_conversion": True, **settings}
        return asking(POLICY, self, draw, due, trace=[], **bounded, **settings)

    def recording_lm(self, kind: Kind, lm: dspy.BaseLM) -> AbstractContextManager[None]:
        """DSPy's context with this LM, in which its calls are counted and nothing is recorded."""
        hold_engines_of([lm])
        return asking(kind, self, lm=lm, trace=[], **_bounded_history(True))

    def run(self, program: dspy.Module, inputs: dict[str, Any]) -> Any:
        """Call a program; that of one which is but a predictor is recorded here."""
        predictor = self._predictor
        if predictor is None:
            return program(**inputs)
        try:
            outputs = program(**inputs)
        except BaseException as error:
            self._close("predictor", predictor, inputs, None, error)
            raise
        self._close("predictor", predictor, inputs, outputs, None)
        return outputs

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if isinstance(instance, dspy.Predict):
            signature = instance.signature
            is_listed = id(instance) in self._names or id(signature) in self._names
            if not is_listed and not signature.__module__.startswith("dspy.predict"):
                self.unlisted.add(signature.signature)
            given = inputs.get("kwargs", inputs)
            left_out = _AGENT_LOGS if id(instance) in self._of_agents else frozenset()
            self._open[call_id] = instance, {name: value for name, value in given.items() if name not in left_out}
        elif isinstance(instance, dspy.ReAct | dspy.ReActV2):
            self._of_agents |= {id(predictor) for predictor in instance.predictors()}

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._hear_of(exception)
        if call_id in self._open:
            self._close("predictor", *self._open.pop(call_id), outputs, exception)

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        self._open[call_id] = instance, inputs.get("kwargs", inputs)

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        if call_id in self._open:
            self._close("tool", *self._open.pop(call_id), outputs, exception)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An LM that the program brings itself may have an engine of its own, which is metered as well."""
        hold_engines_of([instance])
        SECRETS.learn_of([instance])

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._hear_of(exception)
        self.is_answered = self.is_answered or exception is None

    def _hear_of(self, exception: BaseException | None) -> None:
        if exception is not None and (not self.failures or self.failures[-1] is not exception):
            self.failures.append(exception)

    def _close(
        self, kind: str, instance: Any, inputs: Mapping[str, Any], outputs: Any, exception: BaseException | None
    ) -> None:
        name = self._names.get(id(instance)) or getattr(instance, "name", None) or type(instance).__name__
        shown = dict(outputs.items()) if isinstance(outputs, dspy.Prediction) else {"": outputs}
        error = None if exception is None else f"{type(exception).__name__}: {exception}"
        self.calls.append(Call(kind, name, inputs, {} if exception is not None else shown, error))


def _bounded_history(is_plain: bool) -> dict[str, Any]:
    """DSPy's settings for what is remembered of calls: its own would keep the prompts of 10 000 of them alive.

    Once `dspy.inspect_history` has enough to show, no more is; where no code of the user's runs that could look,
    nothing is added to it.
    """
    meter = active_meter()
    is_enough = meter is not None and meter.calls >= _SHOWN
    if is_enough and not is_plain:
        forget_calls_before(_SHOWN)
    is_enough = is_enough and is_plain
    kept = min(dspy.settings.max_history_size, _REMEMBERED)
    return {"max_history_size": kept, "disable_history": dspy.settings.disable_history or is_enough}


def _predictor_of(program: Any) -> dspy.Predict | None:
    """The predictor that a call of this program is a call of, and of nothing else; None if it may be more."""
    if type(dspy.settings.adapter) not in _ASK_NO_PREDICTOR:
        return None
    called = program.predict if _runs_as(program, dspy.ChainOfThought) else program
    return called if _runs_as(called, dspy.Predict) else None


def _runs_as(module: Any, kind: type[dspy.Module]) -> bool:
    own = type(module)
    is_plain = isinstance(module, kind) and not {"forward", "aforward"} & vars(module).keys()
    return is_plain and (own.forward, own.aforward) == (kind.forward, kind.aforward)
