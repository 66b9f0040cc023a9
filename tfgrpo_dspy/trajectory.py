"""What a program did during one rollout: every predictor call, tool call and LM call, seen through DSPy's callbacks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from tfgrpo_dspy.events import Usage
from tfgrpo_dspy.rendering import neutralise


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
    """

    def __init__(self, names: Mapping[int, str] | None = None) -> None:
        self.calls: list[Call] = []
        """Finished predictor and tool calls, in order of completion."""
        self.usage = Usage()
        self._names = names or {}
        self._open: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._lock = threading.Lock()  # a program may call its predictors from threads of its own

    @property
    def tool_calls(self) -> int:
        """Tool calls made, ReAct's `finish` and ReActV2's `submit` not counted: they do nothing."""
        return sum(call.kind == "tool" and call.name not in {"finish", "submit"} for call in self.calls)

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if isinstance(instance, dspy.Predict):
            self._open[call_id] = instance, inputs.get("kwargs", inputs)

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._close("predictor", call_id, outputs, exception)

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        self._open[call_id] = instance, inputs.get("kwargs", inputs)

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._close("tool", call_id, outputs, exception)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        self._open[call_id] = instance, {}

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        lm, _ = self._open.pop(call_id)
        # DSPy writes the call's entry into the LM's history before this; each rollout has its own copy of the LM.
        entry = lm.history[-1] if exception is None and lm.history else None
        with self._lock:
            self.usage += _usage_of(entry)

    def _close(self, kind: str, call_id: str, outputs: Any, exception: BaseException | None) -> None:
        if call_id not in self._open:
            return
        instance, inputs = self._open.pop(call_id)
        name = self._names.get(id(instance)) or getattr(instance, "name", None) or type(instance).__name__
        shown = dict(outputs.items()) if isinstance(outputs, dspy.Prediction) else {"": outputs}
        error = None if exception is None else f"{type(exception).__name__}: {exception}"
        self.calls.append(Call(kind, name, inputs, {} if exception is not None else shown, error))


def _usage_of(entry: Mapping[str, Any] | None) -> Usage:
    if entry is None:
        return Usage(lm_calls=1)
    reported = entry.get("usage") or {}
    if not reported:  # DSPy's cache answered
        return Usage(lm_calls=1, cached_calls=1)
    prompt, completion = reported.get("prompt_tokens") or 0, reported.get("completion_tokens") or 0
    return Usage(1, 0, int(prompt), int(completion), entry.get("cost"))


def render_trajectory(calls: list[Call]) -> str:
    """The calls as text, one block each, safe to show to another prompt.

    An input that repeats or extends what the same predictor was given before (a ReAct trajectory, say) is shown by
    what is new in it, so that the text grows with the work done and not with its square.
    """
    seen: dict[tuple[str, str], str] = {}
    blocks = []
    for number, call in enumerate(calls, start=1):
        lines = [f"Step {number}: {call.kind} {call.name}" if call.kind == "tool" else f"Step {number}: {call.name}"]
        for field, value in call.inputs.items():
            new = _what_is_new(seen, (call.name, field), _as_text(value))
            if new:
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
