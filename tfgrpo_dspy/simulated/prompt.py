"""Reading a request: which fields it shows, which fields it asks for, in which format, and what it advises."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from dspy.lm15 import Message, Request

Format = Literal["chat", "json", "plain"]
Learns = Literal["contrast", "answer", "both"]
"""What is learned from: better attempts beside worse, a poor one beside the expected answer, or both."""


class OutputField(NamedTuple):
    """A field that the reply must fill."""

    name: str
    type: str
    """As the prompt spells it, e.g. `str`, `int`, `list[str]`, `Literal['a', 'b']`."""
    about: str
    """Its description; empty when there is none."""


class Demo(NamedTuple):
    """A solved example shown before the question."""

    question: str
    reply: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as the embedded LM reads it."""

    instructions: str
    """What it is told to do: the objective, the advice; without the description of the format."""
    inputs: Mapping[str, str]
    """The input fields of the last user message, in order; the whole text under `""` in a plain prompt."""
    outputs: tuple[OutputField, ...]
    """Empty in a plain prompt."""
    format: Format
    demos: tuple[Demo, ...] = ()
    slip: float | None = None
    """Chance of an arithmetic slip of whom it is shown to; None for the usual one."""
    learns: Learns = "contrast"
    """What whom it is shown to can learn from."""

    @property
    def question(self) -> str:
        """All inputs as one text."""
        return "\n".join(self.inputs.values())


_FIELD_LINE = re.compile(r"^\d+\. `(\w+)` \((.*?)\):[ ]?(.*)$", re.MULTILINE)
_OUTPUTS = re.compile(r"Your output fields are:\n(.*?)(?=\n\s*All interactions will|\Z)", re.DOTALL)
_OBJECTIVE = re.compile(r"your objective is:\s*(.*)\Z", re.DOTALL)
_HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\][ ]*\n?", re.MULTILINE)
_REMINDER = re.compile(
    r"\n*^Respond with (?:the corresponding output fields|a JSON object).*\Z", re.MULTILINE | re.DOTALL
)
_JSON_REQUEST = re.compile(
    r"Outputs will be a JSON object|Respond (?:only )?with a (?:single )?JSON object", re.IGNORECASE
)
_CHAT_REQUEST = "[[ ## completed ## ]]"


def read_prompt(request: Request) -> Prompt:
    """The request as fields, format and advice."""
    system = "\n".join([_system_text(request), *(_text(m) for m in request.messages if m.role == "developer")]).strip()
    turns = [(m.role, _text(m)) for m in request.messages if m.role in ("user", "assistant")]
    last = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=-1)
    user = turns[last][1] if last >= 0 else ""
    outputs, instructions = _read_system(system)
    format_ = _format_of(request, system, user)
    return Prompt(
        instructions=instructions,
        inputs=_read_inputs(user),
        outputs=outputs or _outputs_of_schema(request),
        format=format_,
        demos=_read_demos(tuple(turns[:last])) if last > 0 else (),
    )


def _text(message: Message) -> str:
    return message.text or ""


def _system_text(request: Request) -> str:
    if request.system is None or isinstance(request.system, str):
        return request.system or ""
    return "".join(getattr(part, "text", "") for part in request.system)


@lru_cache(maxsize=512)
def _read_system(system: str) -> tuple[tuple[OutputField, ...], str]:
    """The output fields asked for, and the instructions without the format's boilerplate."""
    listed = _OUTPUTS.search(system)
    fields = _FIELD_LINE.findall(listed[1]) if listed else []
    objective = _OBJECTIVE.search(system)
    instructions = objective[1] if objective else "" if listed else system
    return tuple(OutputField(*found) for found in fields), "\n".join(line.strip() for line in instructions.splitlines())


def _format_of(request: Request, system: str, user: str) -> Format:
    if request.config.response_format is not None or _JSON_REQUEST.search(system) or _JSON_REQUEST.search(user):
        return "json"
    return "chat" if _CHAT_REQUEST in system or _CHAT_REQUEST in user else "plain"


@lru_cache(maxsize=128)  # whole prompts are kept
def _read_inputs(user: str) -> Mapping[str, str]:
    body = _REMINDER.sub("", user)
    pieces = _HEADER.split(body)
    if len(pieces) == 1:
        return {"": body.strip()}
    return {name: value.strip() for name, value in zip(pieces[1::2], pieces[2::2], strict=True)}


@lru_cache(maxsize=512)
def _read_demos(turns: tuple[tuple[str, str], ...]) -> tuple[Demo, ...]:
    return tuple(
        Demo("\n".join(_read_inputs(first).values()), second)
        for (role, first), (next_role, second) in pairwise(turns)
        if role == "user" and next_role == "assistant"
    )


_JSON_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict"}


def _outputs_of_schema(request: Request) -> tuple[OutputField, ...]:
    """The fields of a `json_schema` response format, for prompts that list none."""
    schema = (request.config.response_format or {}).get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return ()
    return tuple(OutputField(name, _type_of(about), _about(about)) for name, about in properties.items())


def _type_of(schema: object) -> str:
    if not isinstance(schema, dict):
        return "str"
    if schema.get("type") == "array":
        return f"list[{_type_of(schema.get('items'))}]"
    if isinstance(schema.get("enum"), list):
        return f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
    return _JSON_TYPES.get(str(schema.get("type")), "str")


def _about(schema: object) -> str:
    return str(schema.get("description", "")) if isinstance(schema, dict) else ""


Values = Mapping[str, object]
"""What a reply says, by output field."""


def write_reply(prompt: Prompt, values: Values) -> str:
    """The values in the format that the prompt asks for; a field that is missing gets an empty value of its type."""
    if prompt.format == "plain":
        return "\n".join(_as_text(value) for value in values.values() if value not in ("", None))
    asked = {field.name: values.get(field.name, _nothing(field)) for field in prompt.outputs} or dict(values)
    if prompt.format == "json":
        return json.dumps(asked, ensure_ascii=False)
    blocks = [f"[[ ## {name} ## ]]\n{_as_text(value)}" for name, value in asked.items()]
    return "\n\n".join([*blocks, "[[ ## completed ## ]]"])


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _nothing(field: OutputField) -> object:
    kind = field.type.removeprefix("Optional[").lower()
    if kind.startswith("literal["):
        return options(field.type)[0]
    empty: dict[str, object] = {"list": [], "dict": {}, "bool": False, "int": 0, "float": 0.0}
    return next((value for name, value in empty.items() if kind.startswith(name)), "nothing to add")


def options(type_: str) -> list[str]:
    """The values of a `Literal[...]` type."""
    return re.findall(r"['\"]([^'\"]*)['\"]", type_) or [""]
