"""Replies of a real model (Qwen2.5-Coder-1.5B-Instruct, Q4_K_M) to our prompts, as they came, replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfgrpo_dspy.signatures import ExtractAdvantage, PlaceLesson, ReviseLesson, SummarizeRollout, WeighLesson
from tfgrpo_dspy.steps.lessons import Drawn, why_left_out
from tfgrpo_dspy.steps.reading.odd import Odd
from tfgrpo_dspy.steps.reading.values import read_reply

RECORDED = Path(__file__).parent / "replies" / "qwen2.5-coder-1.5b.jsonl"
REPLIES = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
TYPES = {
    name: field.annotation
    for signature in (SummarizeRollout, ExtractAdvantage, ReviseLesson, PlaceLesson, WeighLesson)
    for name, field in signature.output_fields.items()
}
TASK = "question: Kylar wants to buy 16 glasses. One costs $5, every second one only 60% of that. What does he pay?"


@pytest.mark.parametrize("said", REPLIES, ids=[f"{i}-{'-'.join(said['asked'])}" for i, said in enumerate(REPLIES)])
def test_each_field_of_each_reply_is_read_but_for_babble_which_is_asked_again(said):
    asked = {
        name: WeighLesson.output_fields[name].annotation if name == "decision" else TYPES[name]
        for name in said["asked"]
    }
    read = read_reply(said["reply"], asked)
    assert any(isinstance(value, Odd) for value in read.values()) == ("is_babble" in said)
    assert all(read.values())


def lessons(task):
    """What the model wrote about tasks that hold a text, before any revision."""
    told = (said for said in REPLIES if "lesson" in said["asked"] and task in said.get("task", said["reply"]))
    return list(dict.fromkeys(read_reply(said["reply"], {"lesson": str})["lesson"] for said in told))


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("glasses", "it speaks of its own task: 60, 16, 64"),
        ("candle", "it speaks of its own task: a candle melts by 2 centimeters"),
        ("dance class", "it speaks of its own task: students enrolled in hip hop dance"),
        ("DVDs", "it speaks of its own task: 3, 2, Tuesday"),
        ("trail", "it speaks of its own task: Marissa"),
        ("downloads", "it tells of the example in the prompt"),
        ("cheerleading", "it names no particular situation and nothing particular to do"),
        ("omelet", "it names no particular situation and nothing particular to do"),
    ],
)
def test_a_lesson_that_is_of_no_use_is_left_out_with_a_reason_that_can_be_checked(task, why):
    (lesson,) = lessons(task)
    told = next((said["task"] for said in REPLIES if task in said.get("task", "")), TASK)
    assert why_left_out(lesson, Drawn(told, ("64",))) == why
