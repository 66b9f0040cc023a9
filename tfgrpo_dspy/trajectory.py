"""What a program did during one rollout: every predictor call, tool call and LM call, seen through DSPy's callbacks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy
from dspy.clients.base_lm import GLOBAL_HISTORY
from dspy.utils.callback import BaseCallback

from tfgrpo_dspy.budget import OutOfBudget
from tfgrpo_dspy.rendering import neutralise
from tfgrpo_dspy.usage import Usage

if TYPE_CHECKING:
    from tfgrpo_dspy.guard import Guard

_AGENT_LOGS = frozenset({"trajectory", "history"})
"""Inputs in which DSPy's agents hand themselves what the calls of a trajectory show already."""
_SHOWN_CALLS = 1_000
"""Calls that `dspy.inspect_history` can show during and after a run; DSPy itself would keep 10 000 prompts alive."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a predictor or a tool, finished."""

    kind: str
    """`predictor` or `tool`."""
    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    error: str | None


class Recorder(BaseCallback):
    """Records the calls of one rollout; use it in `dspy.context(callbacks=[..., recorder])`.

    Args:
        names: Predictor names by `id(predictor)`, for readable trajectories.
        guard: Told of LM calls as well; DSPy takes longer over one more callback than over a call from here.
    """

    def __init__(self, names: Mapping[int, str] | None = None, guard: Guard | None = None) -> None:
        self._guard = guard
        self.calls: list[Call] = []
        """Finished predictor and tool calls, in order of completion."""
        self.usage = Usage()
        self._names = names or {}
        self._open: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._of_agents: set[int] = set()
        self._lock = threading.Lock()  # a program may call its predictors from threads of its own

    @property
    def tool_calls(self) -> int:
        """Tool calls made, ReAct's `finish` and ReActV2's `submit` not counted: they do nothing."""
        return sum(call.kind == "tool" and call.name not in {"finish", "submit"} for call in self.calls)

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if isinstance(instance, dspy.Predict):
            given = inputs.get("kwargs", inputs)
            left_out = _AGENT_LOGS if id(instance) in self._of_agents else frozenset()
            self._open[call_id] = instance, {name: value for name, value in given.items() if name not in left_out}
        elif isinstance(instance, dspy.ReAct | dspy.ReActV2):
            self._of_agents |= {id(predictor) for predictor in instance.predictors()}

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._close("predictor", call_id, outputs, exception)

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        self._open[call_id] = instance, inputs.get("kwargs", inputs)

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._close("tool", call_id, outputs, exception)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if self._guard is not None:
            self._guard.on_lm_start(call_id, instance, inputs)
        self._open[call_id] = instance, {}

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        if self._guard is not None:
            self._guard.on_lm_end(call_id, outputs, exception)
        lm, _ = self._open.pop(call_id)
        if isinstance(exception, OutOfBudget):
            return  # it was not made
        usage = Usage(lm_calls=1) if exception is not None else usage_of(lm, outputs)
        with self._lock:
            self.usage += usage
        if len(GLOBAL_HISTORY) > _SHOWN_CALLS:
            del GLOBAL_HISTORY[:-_SHOWN_CALLS]

    def _close(self, kind: str, call_id: str, outputs: Any, exception: BaseException | None) -> None:
        if call_id not in self._open:
            return
        instance, inputs = self._open.pop(call_id)
        name = self._names.get(id(instance)) or getattr(instance, "name", None) or type(instance).__name__
        shown = dict(outputs.items()) if isinstance(outputs, dspy.Prediction) else {"": outputs}
        error = None if exception is None else f"{type(exception).__name__}: {exception}"
        self.calls.append(Call(kind, name, inputs, {} if exception is not None else shown, error))


def usage_of(lm: Any, outputs: Any) -> Usage:
    """What a finished call took, by the LM's history."""
    return _usage_of(entry_of(lm, outputs))


def entry_of(lm: Any, outputs: Any) -> Mapping[str, Any] | None:
    """What DSPy wrote into the LM's history about a call; other threads may have written since."""
    written = reversed(list(lm.history))
    return next((entry for entry in written if entry["outputs"] is outputs or entry["response"] is outputs), None)


def _usage_of(entry: Mapping[str, Any] | None) -> Usage:
    if entry is None:  # DSPy was told to keep no history
        return Usage(lm_calls=1, cost_usd=None)
    reported = entry.get("usage") or {}
    if not reported and _is_from_cache(entry["response"]):
        return Usage(lm_calls=1, cached_calls=1)
    prompt, completion = reported.get("prompt_tokens") or 0, reported.get("completion_tokens") or 0
    return Usage(1, 0, int(prompt), int(completion), entry.get("cost"))


def _is_from_cache(response: Any) -> bool:
    """Whether DSPy's cache gave the response: LiteLLM's is marked, of the others only their history keeps the usage."""
    if hasattr(response, "cache_hit"):
        return bool(response.cache_hit)
    return getattr(getattr(response, "usage", None), "input_tokens", None) is not None


def render_trajectory(calls: list[Call]) -> str:
    """The calls as text, one block each, safe to show to another prompt.

    An input that was shown before is left out, and one that extends what the same predictor was given before is shown
    by what is new in it, so that the text grows with the work done and not with its square.
    """
    seen: dict[tuple[str, str], str] = {}
    shown: set[tuple[str, str]] = set()
    blocks = []
    for number, call in enumerate(calls, start=1):
        lines = [f"Step {number}: {call.kind} {call.name}" if call.kind == "tool" else f"Step {number}: {call.name}"]
        for field, value in call.inputs.items():
            text = _as_text(value)
            new = _what_is_new(seen, (call.name, field), text)
            if new and (field, text) not in shown:
                shown.add((field, text))
                lines.append(f"  in {field}: {_indent(new)}")
        lines += [f"  {f'out {field}' if field else '->'}: {_indent(_as_text(v))}" for field, v in call.outputs.items()]
        lines += [f"  failed: {_indent(call.error)}"] if call.error else []
        blocks.append("\n".join(lines))
    return neutralise("\n".join(blocks))


def render_values(values: Mapping[str, Any]) -> str:
    """`name: value` lines, safe to show to another prompt."""
    return neutralise("\n".join(f"{name}: {_as_text(value)}" for name, value in values.items()))


def _what_is_new(seen: dict[tuple[str, str], str], key: tuple[str, str], text: str) -> str:
    before = seen.get(key, "")
    seen[key] = text
    if before and text == before:
        return ""
    return f"(continued) {text[len(before) :].strip()}" if before and text.startswith(before) else text


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")
