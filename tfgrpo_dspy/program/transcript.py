"""A trajectory taken apart again: the turns that `render_trajectory` wrote as text. Pure text functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from tfgrpo_dspy.program.recorder import Call
from tfgrpo_dspy.program.values import Things, as_text
from tfgrpo_dspy.text import neutralise

_TURN = re.compile(r"Step [0-9]+: (tool )?(.*)")
_VALUE = re.compile(r"  (in|out|->|failed)(?: ([^:]*))?: ?(.*)")
_CITATION = re.compile(r"\[(G(?:0|[1-9][0-9]*))\]")
_UNNAMED = frozenset({"self", "predict"})
"""What DSPy calls the predictor of a program that has one; models take it for what the task is about."""
_ANSWER = "answer"
_ROLES = {"in": "in", "out": "out", "->": "out", "failed": "failed"}


class Value(NamedTuple):
    """One thing that a call was given or gave."""

    role: str
    """`in`, `out` or `failed`."""
    field: str
    """Name of the input or output; empty for what a tool returned and for an error."""
    text: str


class Turn(NamedTuple):
    """One call of a predictor or a tool."""

    is_tool: bool
    name: str
    values: tuple[Value, ...]


def parse_trajectory(text: str) -> tuple[Turn, ...]:
    """The turns of a trajectory as `render_trajectory` writes it.

    Total: a line that such a text cannot have belongs to the value before it, so that nothing is lost to sight.
    """
    turns: list[Turn] = []
    for line in text.split("\n"):
        if (head := _TURN.fullmatch(line)) is not None:
            turns.append(Turn(head[1] is not None, head[2], ()))
        elif line or turns:
            turn = turns.pop() if turns else Turn(False, "", ())
            turns.append(turn._replace(values=_with_line(turn.values, line)))
    return tuple(turns)


def _with_line(values: tuple[Value, ...], line: str) -> tuple[Value, ...]:
    if (found := _VALUE.fullmatch(line)) is not None:
        return (*values, Value(_ROLES[found[1]], found[2] or "", found[3]))
    more = line.removeprefix("    ")
    if not values:
        return (Value("in", "", more),)
    last = values[-1]
    return (*values[:-1], last._replace(text=f"{last.text}\n{more}"))


def citations(turns: Sequence[Turn]) -> tuple[str, ...]:
    """Ids of the experiences that the program named in what it wrote, in order, each once."""
    written = (value.text for turn in turns if not turn.is_tool for value in turn.values if value.role == "out")
    return tuple(dict.fromkeys(id for text in written for id in _CITATION.findall(text)))


def first_divergence(a: Sequence[Turn], b: Sequence[Turn]) -> int | None:
    """Position of the first turn that is not the same in both, from 0; None if all are."""
    pairs = zip_longest(a, b)
    return next((position for position, (one, other) in enumerate(pairs) if one != other), None)


def render_trajectory(calls: list[Call], things: Things | None = None) -> str:
    """The calls as text, one block each, safe to show to another prompt.

    An input that was shown before is left out, and one that extends what the same predictor was given before is shown
    by what is new in it, so that the text grows with the work done and not with its square.

    Args:
        calls: What was done.
        things: Names of what is no text in the example, which the calls go on with; None for new ones.
    """
    things = things or Things()
    is_alone = {call.name for call in calls if call.kind != "tool"} <= _UNNAMED
    seen: dict[tuple[str, str], str] = {}
    shown: set[tuple[str, str]] = set()
    blocks = []
    for number, call in enumerate(calls, start=1):
        called = f"tool {call.name}" if call.kind == "tool" else _ANSWER if is_alone else call.name
        lines = [f"Step {number}: {called}"]
        for field, value in call.inputs.items():
            text = as_text(value, things)
            before, seen[call.name, field] = seen.get((call.name, field), ""), text
            new = "" if text == before else text
            if before and new.startswith(before):
                new = f"(continued) {text[len(before) :].strip()}"
            if new and (field, text) not in shown:
                shown.add((field, text))
                lines.append(f"  in {field}: {_indent(new)}")
        lines += [
            f"  {f'out {field}' if field else '->'}: {_indent(as_text(v, things))}" for field, v in call.outputs.items()
        ]
        lines += [f"  failed: {_indent(as_text(call.error, things))}"] if call.error else []
        blocks.append("\n".join(lines))
    return neutralise("\n".join(blocks))


def render_values(values: Mapping[str, Any], things: Things | None = None) -> str:
    """`name: value` lines, safe to show to another prompt; `things` as in `render_trajectory`."""
    things = things or Things()
    return neutralise("\n".join(f"{name}: {as_text(value, things)}" for name, value in values.items()))


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")
