"""The single update of a batch: what can be read is kept, and what is odd or broke off is asked again alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from dspy.lm15 import Message, Response, TextPart, Usage

from tests.tfgrpo_dspy.scripted import Asked, Engine, add_all, script
from tests.tfgrpo_dspy.steps.test_optimisation import advantage, proposed
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Modify

MANY = [advantage(i, f"When {word}, do {word[::-1]}.") for i, word in enumerate("ash birch cedar elm fir oak".split())]

SPOILT: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "one merger more": lambda ops: ops.append({"op": "merge", "id": "G1", "text": "When x, y.", "merged_from": ["G1"]}),
    "one key more": lambda ops: ops[0].update(title="A name"),
    "a modify without an id": lambda ops: ops.append({"op": "modify", "text": "When x, y."}),
    "an update": lambda ops: ops.append({"op": "update", "id": "G0", "text": "When x, y."}),
    "capitals": lambda ops: [op.update(op=op["op"].upper()) for op in ops],
    "other keys": lambda ops: [(op.update(operation=op.pop("op"), content=op.pop("text"))) for op in ops],
    "null ids": lambda ops: [op.update(id=None) for op in ops],
    "a remark": lambda ops: ops.insert(1, "and then"),
    "an unknown operation": lambda ops: ops.insert(0, {"op": "polish", "text": "When shiny, shine."}),
}


def spoilt(how: Callable[[list[dict[str, Any]]], object], asked: Asked) -> dict[str, Any]:
    operations = add_all(asked)["operations"]
    how(operations)
    return {"operations": operations}


@pytest.mark.parametrize("how", SPOILT.values(), ids=SPOILT)
def test_one_odd_item_costs_no_other_item_though_every_reply_has_one(how):
    engine = Engine(script(update=lambda asked: spoilt(how, asked)))
    update = proposed(engine, *MANY)
    added = [o.text for o in update.operations if isinstance(o, Add)]
    assert {a.experiences[0] for a in MANY} <= set(added)
    assert update.carried == ()
    assert engine.calls <= 2


def test_what_an_odd_item_was_about_is_asked_again_alone_with_a_sentence_and_what_was_decided_stays():
    def forgetful(asked: Asked):
        operations = add_all(asked)["operations"]
        if "correction" not in asked.system:
            operations[2] = {"op": "modify", "text": operations[2]["text"], "sources": operations[2]["sources"]}
        return {"operations": operations}

    engine = Engine(script(update=forgetful))
    update = proposed(engine, *MANY)
    assert [o.text for o in update.operations] == [MANY[i].experiences[0] for i in (0, 1, 3, 4, 5, 2)]
    second = engine.asked[1]
    assert second.field("correction") == 'It does not say which entry to change: "modify When cedar, do radec. A2".'
    assert re.findall(r"^A\d+", second.field("advantages"), re.MULTILINE) == ["A2"]
    assert "When ash, do hsa." in second.field("experiences"), "the library as it will be is shown"


def test_what_stays_odd_is_carried_alone():
    def stubborn(asked: Asked):
        operations = [op for op in add_all(asked)["operations"] if op["sources"] != ["A2"]]
        return {"operations": [*operations, {"op": "modify", "text": "When x, y.", "sources": ["A2"]}]}

    engine = Engine(script(update=stubborn))
    update = proposed(engine, *MANY, retries=1)
    assert update.carried == (MANY[2],)
    assert len(update.operations) == 5
    assert "which entry to change" in update.failures[0].reason


def capped(candidates: int, asked: Asked) -> Any:
    """A provider whose replies break off after so many operations."""
    operations = add_all(asked)["operations"]
    if len(operations) <= candidates:
        return {"operations": operations}
    return f"[[ ## operations ## ]]\n{json.dumps(operations[: candidates + 1])[:-20]}"


def test_a_reply_that_broke_off_is_asked_again_in_halves():
    engine = Engine(script(update=lambda asked: capped(2, asked)))
    update = proposed(engine, *MANY)
    assert sorted(o.text for o in update.operations) == sorted(a.experiences[0] for a in MANY)
    assert (update.carried, update.failures) == ((), ())
    assert engine.calls <= 4


def test_a_reply_that_says_it_broke_off_is_asked_again_in_halves_though_it_would_parse():
    engine = LengthLimited(script())
    update = proposed(engine, *MANY)
    assert sorted(o.text for o in update.operations) == sorted(a.experiences[0] for a in MANY)
    assert update.failures == ()


class LengthLimited(Engine):
    """Ends its replies after two candidates, with `finish_reason` "length"."""

    def complete(self, request):
        response = super().complete(request)
        if response.text.count('"op"') <= 2:
            return response
        message = Message.assistant([TextPart(response.text[:200])])
        usage = Usage(input_tokens=10, output_tokens=100_000)
        return Response(id=None, model="scripted", message=message, finish_reason="length", usage=usage)


def test_later_questions_see_the_library_that_earlier_ones_made_and_may_change_it():
    def second_sharpens(asked: Asked):
        if "A3" in asked.field("advantages") and "A0" in asked.field("advantages"):
            return capped(1, asked)
        if "When ash, do hsa." in asked.field("experiences") and "A5" in asked.field("advantages"):
            return {
                "operations": [
                    {"op": "modify", "id": "G0", "text": "When ash or oak, do hsa.", "sources": ["A3", "A4", "A5"]}
                ]
            }
        return add_all(asked)

    update = proposed(Engine(script(update=second_sharpens)), *MANY, library=ExperienceLibrary())
    texts = [o.text for o in update.operations]
    assert "When ash or oak, do hsa." in texts
    assert "When ash, do hsa." not in texts
    assert not any(isinstance(o, Modify) for o in update.operations), "all of it is one proposal on E"
