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
def test_each_field_of_each_reply_is_read(said):
    asked = {
        name: WeighLesson.output_fields[name].annotation if name == "decision" else TYPES[name]
        for name in said["asked"]
    }
    read = read_reply(said["reply"], asked)
    assert not any(isinstance(value, Odd) for value in read.values())
    assert all(read.values())


def test_the_lesson_that_tells_its_task_again_is_left_out_with_the_numbers():
    (lesson,) = {read_reply(said["reply"], {"lesson": str})["lesson"] for said in REPLIES if "glasses" in said["reply"]}
    assert why_left_out(lesson, Drawn(TASK, ("64",))) == "it speaks of its own task: 60, 16, 64"
