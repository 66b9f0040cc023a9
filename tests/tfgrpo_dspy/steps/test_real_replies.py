"""Replies of a real model (Qwen2.5-Coder-1.5B-Instruct, Q4_K_M) to our prompts, as they came, replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfgrpo_dspy.signatures import (
    ExtractAdvantage,
    PlaceLesson,
    ReviseLesson,
    SummarizeRollout,
    WeighLesson,
    may_lack,
)
from tfgrpo_dspy.steps.lessons import Drawn, fault_of
from tfgrpo_dspy.steps.reading.odd import Odd
from tfgrpo_dspy.steps.reading.values import read_reply
from tfgrpo_dspy.text import one_line


def recorded(name: str) -> list[dict[str, object]]:
    file = Path(__file__).parent / "replies" / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


LESSONS = recorded("qwen2.5-coder-1.5b")
REPLIES = [*LESSONS, *recorded("qwen2.5-coder-1.5b-trials")]
PROMPTS = (SummarizeRollout, ExtractAdvantage, ReviseLesson, WeighLesson, PlaceLesson)
TASK = "question: Kylar wants to buy 16 glasses. One costs $5, every second one only 60% of that. What does he pay?"


@pytest.mark.parametrize("said", REPLIES, ids=[f"{i}-{'-'.join(said['asked'])}" for i, said in enumerate(REPLIES)])
def test_each_field_of_each_reply_is_read_but_for_babble_and_what_is_none_which_are_asked_again(said):
    prompt = next(p for p in PROMPTS if set(said["asked"]) <= set(p.output_fields))
    needed = [name for name in said["asked"] if name not in may_lack(prompt)]
    read = read_reply(said["reply"], {name: prompt.output_fields[name].annotation for name in said["asked"]})
    assert any(isinstance(read[name], Odd) for name in needed) == ("is_babble" in said)
    for name in needed:
        is_none = "is_empty" in said or said["reply"].endswith(f"{{{name}}}")
        assert bool(read[name]) != is_none


OWN = "it speaks of its own task: "
EMPTY = "it names no particular situation and nothing particular to do"
UNSEEN = 'it speaks of what its reader has not seen: "these attempts"'
LEFT_OUT = [
    ("glasses", "64", [OWN + "60, 16, 64", EMPTY]),
    ("candle", "8", [OWN + "2, 8", OWN + "a candle melts by 2 centimeters", ""]),
    ("dance class", "60", [OWN + "students enrolled in hip hop dance", EMPTY]),
    ("DVDs", "7", [OWN + "3, 2, 7, Tuesday", OWN + "3, 2", UNSEEN]),
    ("trail", "", [OWN + "Marissa"]),
    ("downloads", "366", ["it tells of the example in the prompt", EMPTY]),
    ("cheerleading", "57500", [EMPTY, EMPTY]),
    ("omelet", "7", [EMPTY, OWN + "4, 7, Claire"]),
    ("trains", "230", [OWN + "150, 230", ""]),
    ("purchase plans", "125", ["", ""]),
]


@pytest.mark.parametrize(("task", "answer", "whys"), LEFT_OUT, ids=[task for task, *_ in LEFT_OUT])
def test_a_lesson_that_is_of_no_use_is_left_out_with_a_reason_that_can_be_checked(task, answer, whys):
    told = [said for said in LESSONS if "lesson" in said["asked"] and task in said.get("task", said["reply"])]
    written = {read_reply(said["reply"], {"lesson": str})["lesson"]: said.get("task", TASK) for said in told}
    faults = [fault_of(one_line(text), Drawn((drawn,), (answer,))) for text, drawn in written.items()]
    assert [fault.why if fault else "" for fault in faults] == whys
