"""One flawed reply costs a second question at most, whichever stage it is of and whatever is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart

from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import SimulatedEngine
from tfgrpo_dspy.simulated.engine import MODEL
from tfgrpo_dspy.simulated.families import FAMILIES
from tfgrpo_dspy.simulated.prompt import read_prompt
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.simulated.world import make_problems

_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]\n(.*?)(?=\n*\[\[ ## |\Z)", re.DOTALL)

Damage = Callable[[dict[str, str]], str]
"""What arrives in place of a reply, given its fields."""


def as_asked(fields: dict[str, str]) -> str:
    return "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in {**fields, "completed": ""}.items())


def last(fields: dict[str, str], change: Callable[[str], str]) -> str:
    """The reply with its last field spelled otherwise."""
    name = list(fields)[-1]
    return as_asked({**fields, name: change(fields[name])})


READ: dict[str, Damage] = {
    "capitals": lambda fields: last(fields, str.upper),
    "marks around it": lambda fields: last(fields, lambda text: f"**{text}**"),
    "between quotation marks": lambda fields: last(fields, json.dumps),
    "a field too many": lambda fields: as_asked({**fields, "title": "Advice"}),
    "thoughts before it": lambda fields: f"<think>\nLet me see.\n</think>\n\n{as_asked(fields)}",
    "a fence around it": lambda fields: f"```\n{as_asked(fields)}\n```",
    "JSON": json.dumps,
    "JSON in a fence": lambda fields: f"Here it is:\n```json\n{json.dumps(fields, indent=2)}\n```",
}
"""What is read as it is."""
ASKED_AGAIN: dict[str, Damage] = {
    "nothing": lambda fields: "",
    "talk": lambda fields: "I would be glad to help with that. What is it about?",
    "a field missing": lambda fields: as_asked(dict(list(fields.items())[:-1])),
    "null": lambda fields: json.dumps(dict.fromkeys(fields)),
    "another form": lambda fields: json.dumps([{"op": "merge", "id": None}]),
}
"""What is asked for again."""
SAID = {("summary", "talk"), ("summary", "another form"), ("extraction", "null"), ("extraction", "capitals")}
"""Stage and damage that say something else, and that nobody can tell from what was meant."""
FREE = {*READ, ("update, entries near", "a field missing")}
"""What costs no second question: a text that only a sharpened entry needs may be left out."""
STAGES = {
    "summary": "summary",
    "extraction": "comparison",
    "update, nothing near": "decision",
    "update, entries near": "entry",
}
"""Stage to an output field that tells its prompts apart."""


class Spoilt(SimulatedEngine):
    """Spoils replies of one stage: to so many tries of its first question, or to every first try.

    Asked again, it says in form what it would have said at first: what is measured is the reading, not the luck of
    another draw.
    """

    def __init__(self, stage: str, damage: Damage, tries: int = 1, *, everywhere: bool = False) -> None:
        super().__init__(0)
        self.stage, self.damage, self.tries, self.everywhere = stage, damage, tries, everywhere
        self.calls, self.spoilt = 0, 0
        self.meant: dict[str, dict[str, str]] = {}
        """What it would have said, by what it was asked about."""

    def complete(self, request: Request) -> Response:
        """The reply to one request."""
        self.calls += 1
        made, prompt = super().complete(request), read_prompt(request)
        told = [output.name for output in prompt.outputs]
        inputs = {name: text for name, text in prompt.inputs.items() if name not in ("correction", *STAGES.values())}
        subject = next((inputs[name] for name in ("lesson", "trajectory", "attempts") if name in inputs), "")
        if not self._is_asked(told, prompt.inputs):
            return made
        is_again = subject in self.meant
        if not (is_again or self.everywhere or not self.meant):
            return made
        said = {name: text.strip() for name, text in _FIELD.findall(made.message.text or "") if name != "completed"}
        meant = self.meant.setdefault(subject, said)
        fields = {name: meant.get(name, said.get(name, "none")) for name in told}
        if is_again and self.spoilt >= self.tries:
            return replace(made, message=Message.assistant([TextPart(as_asked(fields))]))
        self.spoilt += 1
        return replace(made, message=Message.assistant([TextPart(self.damage(fields))]))

    def _is_asked(self, told: list[str], inputs: dict[str, str]) -> bool:
        if self.stage.startswith("update"):
            return "decision" in told and ("entries" in inputs) == (self.stage == "update, entries near")
        return STAGES.get(self.stage) in told


class Learned(NamedTuple):
    texts: tuple[str, ...]
    calls: int
    became: tuple[str, ...]
    """Of each candidate."""
    failures: int


def alike(number: int) -> list[dspy.Example]:
    """Problems of few kinds, so that lessons are near to each other."""
    problems = make_problems(number, 0, families=FAMILIES[:2])
    return [dspy.Example(question=p.question, answer=p.answer).with_inputs("question") for p in problems]


def learned(engine: Spoilt) -> Learned:
    lm = dspy.LM(MODEL, engine=engine, seed=0, cache=False)
    with dspy.context(lm=lm):
        optimizer = TrainingFreeGRPO(number, epochs=1, group_size=3, num_threads=1, display_progress=False)
        found = optimizer.compile(make_solver(), alike(6)).detailed_results
    fates = [fate for step in found.steps for fate in step.fates]
    assert "defect" not in " ".join(fate.why for fate in fates)
    failures = sum(len(step.failures) for step in found.steps)
    return Learned(tuple(e.text for e in found.library), engine.calls, tuple(f.became for f in fates), failures)


@lru_cache(maxsize=1)
def unspoilt() -> Learned:
    return learned(Spoilt("none", lambda fields: ""))


CASES = [(s, d) for s in STAGES for d in (*READ, *ASKED_AGAIN) if (s, d) not in SAID]


@pytest.mark.parametrize(("stage", "damage"), CASES)
def test_one_spoilt_reply_changes_nothing_but_for_a_second_question(stage, damage):
    engine = Spoilt(stage, {**READ, **ASKED_AGAIN}[damage])
    found, sound = learned(engine), unspoilt()
    assert engine.spoilt == 1
    assert found == sound._replace(calls=sound.calls + (not {damage, (stage, damage)} & FREE))


@pytest.mark.parametrize(("stage", "damage"), [(s, d) for s, d in CASES if d in READ and s != "summary"])
def test_a_model_that_always_writes_so_costs_nothing(stage, damage):
    assert learned(Spoilt(stage, READ[damage], everywhere=True)) == unspoilt()


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "summary"])
def test_one_question_that_is_never_answered_costs_what_it_was_about_and_nothing_else(stage):
    engine = Spoilt(stage, ASKED_AGAIN["talk"], tries=99)
    found, sound = learned(engine), unspoilt()
    assert engine.spoilt == 3, "the first try and two more"
    assert len(set(sound.texts) - set(found.texts)) <= 1
    assert found.calls <= sound.calls + 2
    assert found.failures == 1
    assert len(found.became) >= len(sound.became) - (stage == "extraction")


def test_no_lesson_is_lost_for_its_length():
    tail = "; mind this whatever else the task may say about it, and whoever asks for it in the end"
    engine = Spoilt(
        "extraction", lambda fields: last(fields, lambda text: f"{text.rstrip('.')}{tail}."), everywhere=True
    )
    found, sound = learned(engine), unspoilt()
    assert "refused" not in found.became
    assert len(found.became) == len(sound.became)
