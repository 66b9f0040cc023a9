"""A language model whose replies are written by the test: a canonical lm15 engine that counts what it is asked."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage

REFLECTION = {
    "summary": "summary",
    **dict.fromkeys(("comparison", "lesson", "lesson_2", "misled_by", "revised"), "extraction"),
    **dict.fromkeys(("operations", "decision", "entry", "text"), "update"),
    "objective": "objective",
}
"""First output field of a prompt to its role; any other is the policy's."""

_OUTPUTS = re.compile(r"Your output fields are:\n(.*?)\nAll interactions will be structured", re.DOTALL)
_WORDS = (
    "amber birch cedar delta ember fjord grove haven inlet jetty knoll ledge marsh north orbit pearl quarry".split()
)


@dataclass(frozen=True)
class Asked:
    """One request, as the script sees it."""

    system: str
    user: str
    seed: int | None
    temperature: float | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output fields asked for, in order."""
        described = _OUTPUTS.search(self.system)
        return tuple(re.findall(r"^\d+\. `(\w+)`", described[1], re.MULTILINE)) if described else ()

    @property
    def role(self) -> str:
        """`policy`, `objective`, `summary`, `extraction` or `update`."""
        return next((REFLECTION[name] for name in self.outputs if name in REFLECTION), "policy")

    def field(self, name: str) -> str:
        """An input field's text, in the chat and JSON adapters' form; empty if it was not sent."""
        found = re.search(rf"\[\[ ## {name} ## \]\]\n(.*?)(?=\n\n\[\[ ## |\n\nRespond with|\Z)", self.user, re.DOTALL)
        return found[1] if found else ""

    def draw(self) -> random.Random:
        """Randomness that depends on nothing but the request."""
        return random.Random(f"{self.seed}|{self.system}|{self.user}")


Script = Callable[[Asked], "Mapping[str, Any] | str | Exception"]
"""Output fields (written as the adapter asked for them), raw text, or an error to raise."""


class Engine:
    """A canonical engine (`dspy.LM(..., engine=)`) that replies by script.

    Args:
        script: Called for each request, from any thread.
        usage: What each reply is said to take; None for an endpoint that does not report it.
    """

    def __init__(self, script: Script, usage: Usage | None = None) -> None:
        self._script = script
        self._usage = Usage(input_tokens=10, output_tokens=5) if usage is None else usage
        self._lock = threading.Lock()
        self.asked: list[Asked] = []
        self.in_flight = 0
        self.most_in_flight = 0

    def complete(self, request: Request) -> Response:
        user = "\n\n".join(message.text or str(message.parts) for message in request.messages)
        asked = Asked(_text(request.system), user, request.config.seed, request.config.temperature)
        with self._lock:
            self.asked.append(asked)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self._script(asked)
        finally:
            with self._lock:
                self.in_flight -= 1
        if isinstance(reply, Exception):
            raise reply
        text = reply if isinstance(reply, str) else _as_asked(asked, reply)
        message = Message.assistant([TextPart(text)])
        return Response(id=None, model="scripted", message=message, finish_reason="stop", usage=self._usage)

    def stream(self, request: Request) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        return self  # engines are borrowed: copies of an LM share them

    @property
    def calls(self) -> int:
        """Requests so far."""
        return len(self.asked)

    @property
    def roles(self) -> Counter[str]:
        """Requests so far by role."""
        return Counter(asked.role for asked in self.asked)

    def of(self, role: str) -> list[Asked]:
        """Requests of one role, in order of arrival."""
        return [asked for asked in self.asked if asked.role == role]

    def lm(self, name: str = "scripted/model", **settings: Any) -> dspy.LM:
        """An LM on this engine: no cache, no retries, a seed, unless said otherwise."""
        settings = {"cache": False, "num_retries": 0, "seed": 1, **settings}
        return dspy.LM(name, engine=self, async_engine=AsyncEngine(self), **settings)


class AsyncEngine:
    """The same engine, awaited."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        return self._engine.complete(request)


def script(**by_role: Script | Mapping[str, Any] | str | Exception) -> Script:
    """A script by role; what is not given is done by `guess`, `summarise`, `extract` and `add_all`."""
    usual = {"policy": guess, "objective": aim, "summary": summarise, "extraction": extract, "update": add_all}
    chosen = usual | by_role

    def reply(asked: Asked) -> Mapping[str, Any] | str | Exception:
        said = chosen[asked.role]
        return said(asked) if callable(said) else said

    return reply


def guess(asked: Asked) -> Mapping[str, Any]:
    """Answers 0 or 1, whatever the question, drawn from the request (its seed included)."""
    return dict.fromkeys(asked.outputs, "because") | {"answer": asked.draw().randint(0, 1)}


def aim(asked: Asked) -> Mapping[str, Any]:
    """What the program is for."""
    return {"objective": "Answer with 0 or 1.", "learning_objective": "When it is 1."}


def summarise(asked: Asked) -> Mapping[str, Any]:
    """A summary that names the reward it was shown."""
    return {"summary": f"It earned {asked.field('reward')} by {' '.join(asked.draw().sample(_WORDS, 3))}."}


def extract(asked: Asked) -> Mapping[str, Any]:
    """One experience, unlike those of other requests."""
    words = asked.draw().sample(_WORDS, 6)
    return {
        "comparison": "The better ones looked twice.",
        "lesson": f"When {words[0]}, {' '.join(words[1:])}",
        "misled_by": "none",
    }


def add_all(asked: Asked) -> Mapping[str, Any]:
    """Adds every candidate, citing its group's label; asked about one alone, says that it is new."""
    if "decision" in asked.outputs:
        return dict.fromkeys(asked.outputs, "none") | {"decision": "new"}
    operations, label = [], ""
    for line in asked.field("advantages").splitlines():
        if found := re.match(r"(A\d+) \(task:", line):
            label = found[1]
        elif line.startswith("- "):
            operations.append({"op": "add", "text": line[2:], "sources": [label], "reason": "it won"})
    return {"operations": operations}


def labels(asked: Asked) -> list[str]:
    """The labels of all advantages shown."""
    return re.findall(r"^(A\d+) \(task:", asked.field("advantages"), re.MULTILINE)


def examples(count: int, answer: Any = "1") -> list[dspy.Example]:
    """Questions `q0?`, `q1?`, ... that all have the same answer."""
    return [dspy.Example(question=f"q{i}?", answer=answer).with_inputs("question") for i in range(count)]


def exact(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
    """Whether the answers are equal as text."""
    return str(example.answer) == str(prediction.answer)


def _text(system: Any) -> str:
    return system if isinstance(system, str) else "".join(part.text for part in system or ())


def _as_asked(asked: Asked, fields: Mapping[str, Any]) -> str:
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    if "Outputs will be a JSON object" in asked.system:
        return json.dumps(dict(fields))
    if "[[ ## completed ## ]]" in asked.system:
        blocks = [f"[[ ## {name} ## ]]\n{value}" for name, value in values.items()]
        return "\n\n".join([*blocks, "[[ ## completed ## ]]"])
    return "\n".join(f"<{name}>\n{value}\n</{name}>" for name, value in values.items())
