"""An agent's prompt: its tools, what it did so far, and the advice that it was given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tfgrpo_dspy.simulated.prompt import Prompt

_TOOL = re.compile(r"^\(\d+\) (\w+)\b.*?It takes arguments \{(?:'(\w+)')?", re.MULTILINE | re.DOTALL)
_MANUAL = re.compile(r"You are an Agent\. In each episode.*?must be in JSON format", re.DOTALL)
_TURN = re.compile(r"^(?:thought|tool_name|tool_args|observation)_\d+$")
_CONCLUSION = re.compile(r"\bSo the answer is (?:perhaps )?(.+?)\.?\s*$")


class Turn(NamedTuple):
    """One turn of a trajectory; a part that is not shown is empty."""

    thought: str
    tool: str
    arguments: str
    """As JSON."""
    observation: str


@dataclass(frozen=True, slots=True)
class Move:
    """What an agent does next."""

    thought: str
    tool: str = "finish"
    arguments: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What an agent sees."""

    task: str
    """The inputs of the task, without the trajectory."""
    turns: tuple[Turn, ...]
    tools: Mapping[str, str]
    """First argument of a tool to the tool's name."""
    instructions: str
    """Without the manual that every agent has."""

    @property
    def thoughts(self) -> str:
        """All of its own thoughts."""
        return "\n".join(turn.thought for turn in self.turns)


def read_scene(prompt: Prompt) -> Scene:
    """The prompt of an agent, taken apart."""
    task = [value for name, value in prompt.inputs.items() if name != "trajectory" and not _TURN.match(name)]
    tools = {argument: name for name, argument in _TOOL.findall(prompt.instructions) if argument}
    return Scene("\n".join(task), _turns(prompt.inputs), tools, _MANUAL.sub("", prompt.instructions))


def _turns(inputs: Mapping[str, str]) -> tuple[Turn, ...]:
    numbers = sorted({int(name.rpartition("_")[2]) for name in inputs if _TURN.match(name)})
    parts = ("thought", "tool_name", "tool_args", "observation")
    return tuple(Turn(*(inputs.get(f"{part}_{number}", "") for part in parts)) for number in numbers)


def conclusion(prompt: Prompt) -> tuple[str, str] | None:
    """The last thought of an agent and the answer that it came to; None if it came to none."""
    turns = _turns(prompt.inputs)
    found = _CONCLUSION.search(turns[-1].thought) if turns else None
    return (turns[-1].thought, found[1].strip()) if found else None
