"""The prompts word by word: `UPDATE_SNAPSHOTS=1 pytest tests/tfgrpo_dspy/test_signatures.py` writes them anew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.adapters.json_adapter import _get_structured_outputs_response_format
from dspy.clients.legacy_requests import _strict_json_schema

from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify
from tfgrpo_dspy.signatures import (
    CORRECTION,
    EXAMPLE_LESSON,
    DeriveObjective,
    ExtractAdvantage,
    PlaceLesson,
    ReviseLesson,
    SettleContradiction,
    SummarizeRollout,
    UpdateLibrary,
    WeighLesson,
    with_correction,
    without,
)

SNAPSHOTS = Path(__file__).parent / "snapshots"
INPUTS = {
    "objective": "Solve the word problem.",
    "told": "Given the fields `question`, produce the fields `answer`.",
    "tasks": "question: A pump fills 3/4 of a tank in 6 minutes. How long does the whole tank take?\nanswer: 8",
    "scoring": "number: 1.0 if the last number of the answer is the expected one.",
    "task": "question: A pump fills 3/4 of a tank in 6 minutes. How long does the whole tank take?",
    "expected": "answer: 8",
    "trajectory": "Step 1: predict\n  in question: A pump\n  out reasoning: By [G0] 6 / (3/4) = 8.\n  out answer: 8",
    "reward": "1",
    "feedback": "The answer is right.",
    "attempts": "Attempt 1 (reward 1):\nIt inverted the fraction.\n\nAttempt 2 (reward 0):\nIt multiplied by 3/4.",
    "experiences": "[G0] When a part is given, divide by it to get the whole.\n[G3] When units differ, convert first.",
    "advantages": "A0 (task: A pump)\nWhy some won: They divided.\nCandidates:\n- When a part is known, divide.",
    "limits": "at most 32 words",
    "excerpts": "The best one, number 1:\n  out answer: 8\n\nThe worst one, number 2:\n  out answer: 4.5",
    "lesson": "When a part is known, divide by it to get the whole.",
    "why": "They divided.",
    "fault": "It has 40 words. Say it in one sentence of at most 32 words.",
    "entries": "[G0] When a part is given, divide by it to get the whole.",
}
SIGNATURES = [
    DeriveObjective,
    SummarizeRollout,
    ExtractAdvantage,
    ReviseLesson,
    PlaceLesson,
    SettleContradiction,
    WeighLesson,
    UpdateLibrary,
]
ADAPTERS = [dspy.ChatAdapter(), dspy.JSONAdapter()]


def transcript(adapter: dspy.Adapter, signature: type[dspy.Signature], inputs: dict[str, str]) -> str:
    shown = {name: inputs[name] for name in signature.input_fields}
    messages = adapter.format(signature, [], shown)
    return "\n".join(f"=== {message['role']} ===\n{message['content'].rstrip()}\n" for message in messages)


def agrees_with_snapshot(name: str, text: str) -> bool:
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: type(adapter).__name__)
@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.__name__)
def test_a_prompt_changes_only_together_with_its_snapshot(
    signature: type[dspy.Signature], adapter: dspy.Adapter
) -> None:
    name = f"{signature.__name__}-{type(adapter).__name__}"
    assert agrees_with_snapshot(name, transcript(adapter, signature, INPUTS)), f"see this module's first line: {name}"


def test_the_prompt_of_a_second_try_says_what_was_wrong() -> None:
    signature = with_correction(without(SummarizeRollout, "expected", "feedback"))
    text = transcript(dspy.ChatAdapter(), signature, INPUTS | {CORRECTION: "summary is blank"})
    assert agrees_with_snapshot("SummarizeRollout-second-try", text)
    assert "[[ ## correction ## ]]\nsummary is blank" in text
    assert "expected" not in signature.input_fields
    assert {"expected", "feedback"} < SummarizeRollout.input_fields.keys(), "the signature itself is untouched"


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(part)


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.__name__)
def test_outputs_have_a_schema_that_strict_structured_outputs_take(signature: type[dspy.Signature]) -> None:
    schema = _strict_json_schema(_get_structured_outputs_response_format(signature).model_json_schema())
    keywords = {key for part in parts(schema) for key in part if "type" in part or "anyOf" in part}
    assert not keywords & {"oneOf", "discriminator", "default", "prefixItems", "patternProperties", "format"}
    for part in parts(schema):
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert set(part["required"]) == set(part["properties"])
            assert len(part["required"]) == len(part["properties"])


def test_the_schema_that_the_updater_is_shown_asks_for_the_kind_of_every_operation() -> None:
    shown = transcript(dspy.ChatAdapter(), UpdateLibrary, INPUTS).partition("must adhere to the JSON schema: ")[2]
    schema = json.loads(shown.splitlines()[0])
    for kind in ("Add", "Modify", "Delete", "Keep"):
        case = schema["$defs"][kind]
        assert "op" in case["required"]
        assert len(case["required"]) == len(set(case["required"]))


REPLIES = {
    SummarizeRollout: {"summary": "It inverted the fraction:\n6 / (3/4) = 8."},
    ExtractAdvantage: {
        "comparison": "The first divided.",
        "lesson": "When a part is known, divide.",
        "misled_by": "none",
    },
    ReviseLesson: {"revised": "When a part is known, divide by it."},
    PlaceLesson: {"thought": "Alike.", "decision": "said already", "entry": "G0", "text": "none"},
    DeriveObjective: {"objective": "Solve word problems.", "learning_objective": "How to find the whole."},
    SettleContradiction: {"thought": "Each.", "holds": "each in its own cases", "text": "When a part, divide."},
    WeighLesson: {"decision": "new"},
    UpdateLibrary: {
        "operations": [
            Add(text="When a part is known, divide by it.", reason="A0 showed it.", sources=("A0",)),
            Modify(id="G0", text="Divide by the part."),
            Delete(id="G3"),
            Keep(),
        ]
    },
}


@pytest.mark.parametrize("adapter", [*ADAPTERS, dspy.XMLAdapter()], ids=lambda adapter: type(adapter).__name__)
@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.__name__)
def test_a_reply_as_the_adapter_would_write_it_is_read_as_it_was_meant(
    signature: type[dspy.Signature], adapter: dspy.Adapter
) -> None:
    reply = adapter.format_assistant_message_content(signature, REPLIES[signature])
    assert adapter.parse(signature, reply) == REPLIES[signature]


@pytest.mark.parametrize("signature", [ExtractAdvantage, ReviseLesson], ids=lambda signature: signature.__name__)
def test_the_example_that_is_known_again_is_the_one_that_is_shown(signature: type[dspy.Signature]) -> None:
    assert EXAMPLE_LESSON in " ".join(signature.instructions.split())
