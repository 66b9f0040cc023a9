"""What real models do wrong besides reasoning: odd spellings, replies that break off or babble, copied names, slips."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal

from tfgrpo_dspy.simulated.prompt import Prompt, Values, options

FinishReason = Literal["stop", "length"]

_ADVICE = re.compile(r"experience|insight|lesson|tip|advice|guideline|rules?$|operation|revised", re.IGNORECASE)
_OWN = re.compile(r"(?<![.!?:;]\s)(?<!^)\b[A-Z][a-z]{2,}\b|\b\d{2,}\b")
_ODD_KEYS = {"op": "operation", "text": "content", "sources": "source"}


@dataclass(frozen=True, slots=True)
class Failings:
    """Rates, each a chance per reply in [0, 1]; nothing is drawn for a rate of 0.

    Raises:
        ValueError: A rate is no chance.
    """

    odd: float = 0.0
    """An item or a choice is spelled otherwise than asked: other keys, capitals, marks around it."""
    cut: float = 0.0
    """The reply breaks off, with the finish reason `length`."""
    babble: float = 0.0
    """The reply says its end over and over until it breaks off."""
    copied: float = 0.0
    """Advice names a name or a number of the task that it was drawn from."""
    slip: float | None = None
    """A right way comes out wrong by an arithmetic slip; None for the usual chance."""

    def __post_init__(self) -> None:
        for field in fields(self):
            rate = getattr(self, field.name)
            if rate is not None and not 0 <= rate <= 1:
                raise ValueError(f"{field.name} is a chance, from 0 (never) to 1 (always), got {rate!r}")

    def told(self) -> dict[str, float]:
        """The rates that are set, by name."""
        return {name: rate for name, rate in asdict(self).items() if rate}


def misspelt(prompt: Prompt, values: Values, failings: Failings, rng: random.Random) -> Values:
    """What a reply says, with copied names and odd spellings as often as they occur."""
    if failings.copied and rng.random() < failings.copied:
        own = _OWN.findall(prompt.inputs.get("task", prompt.question))
        values = {
            name: _with_own(value, own[0]) if own and _ADVICE.search(name) else value for name, value in values.items()
        }
    if failings.odd and rng.random() < failings.odd:
        types = {field.name: field.type.lower() for field in prompt.outputs}
        values = {name: _oddly(value, types.get(name, ""), rng) for name, value in values.items()}
    return values


def broken(text: str, failings: Failings, rng: random.Random) -> tuple[str, FinishReason]:
    """A reply as it arrives: whole, cut, or repeating itself until it is cut."""
    if failings.babble and rng.random() < failings.babble:
        words = text.split()
        return f"{' '.join(words[: len(words) * 2 // 3])} {' '.join(['and the same again, as before,'] * 60)}", "length"
    if failings.cut and rng.random() < failings.cut:
        return text[: max(1, int(len(text) * rng.uniform(0.3, 0.9)))], "length"
    return text, "stop"


def _with_own(value: object, own: str) -> object:
    """Advice that speaks of a name or number of its task."""
    if isinstance(value, list):
        return [_with_own(item, own) for item in value]
    if isinstance(value, Mapping):
        return {key: _with_own(said, own) if key == "text" else said for key, said in value.items()}
    if not isinstance(value, str) or len(value.split()) < 4:  # noqa: PLR2004 - "none" is no advice
        return value
    return f"{value.rstrip('.')}, as with {own}."


def _oddly(value: object, type_: str, rng: random.Random) -> object:
    """A value as a model writes that does not keep to the form."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        i = rng.randrange(len(value))
        item = {_ODD_KEYS.get(key, key): said for key, said in value[i].items()}
        return [*value[:i], {**item, "title": "Advice"}, *value[i + 1 :]]
    if isinstance(value, str) and type_.startswith("literal["):
        said = next((option for option in options(type_) if option.lower() == value.lower()), value)
        return rng.choice([f"**{said.title()}**", f"{said.upper()}.", f"The answer is: {said}", json.dumps(said)])
    return value
