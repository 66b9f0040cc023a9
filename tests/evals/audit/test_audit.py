"""`tfgrpo audit-reward`: a reward held against a verifier or a person, from a file of answers or fresh rollouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import run, the_error

REWARDS = """
import dspy
from tfgrpo_dspy import MajorityVote

majority = MajorityVote()

def pays_for_words(example, prediction, trace=None):
    return len(prediction.answer.split())

def fails_on_two(example, prediction, trace=None):
    if "two" in prediction.answer:
        raise ValueError("two is too much")
    return prediction.answer.startswith(example.answer)
"""


@pytest.fixture(autouse=True)
def files():
    Path("rewards.py").write_text(REWARDS, encoding="utf-8")
    rows = [
        {"question": f"What is {i}?", "answer": str(i), "given": given, "right": right}
        for i in range(12)
        for given, right in (
            (str(i), True),
            (f"{i} and more", True),
            ("something else altogether", False),
            ("two", "no"),
        )
    ]
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def said(*arguments: str) -> str:
    done = run("audit-reward", *arguments)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_a_reward_is_held_against_a_persons_verdicts():
    found = said("answers.jsonl", "--metric", "exact", "--verdict", "right")
    assert "exact against the column right" in found
    assert "agreement with the verifier 0.750" in found, "it finds half of the right ones: a tie counts half"
    assert "right answers rejected 0.500" in found
    assert "disagrees with the verifier" in found


def test_a_reward_that_pays_for_length_is_found_out():
    found = said("answers.jsonl", "--metric", "rewards.py:pays_for_words", "--verdict", "right")
    assert "! pays for length" in found
    assert "right or wrong" not in found, "words are no verdict"


def test_answers_that_cannot_be_scored_are_left_out_and_the_reason_is_said():
    found = said("answers.jsonl", "--metric", "rewards.py:fails_on_two", "--verdict", "right")
    assert "12 answers could not be scored and are left out, the first: the metric raised ValueError" in found
    assert "36 rollouts" in found


def test_a_reward_of_whole_groups_can_be_audited_too():
    assert "rewards.py:majority against exact" in said("answers.jsonl", "--metric", "rewards.py:majority")


def test_a_programs_rollouts_are_scored_by_both():
    run("problems", "--train", "8", "--test", "2")
    found = said("programs.demo_world:solver", "train.jsonl", "--against", "number", "-k", "3", "--lm", "simulated")
    assert "SIMULATED" in found
    assert "24 rollouts" in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["answers.jsonl", "--given", "reply"], "answers.jsonl, line 1: there is no such column"),
        (["answers.jsonl", "--verdict", "question"], "a verdict is a number"),
        (["answers.jsonl", "--against", "rewards.py:majority"], "verifies nothing"),
        (["nowhere.jsonl"], "no such file"),
    ],
)
def test_what_can_be_mended_is_said_in_one_sentence(arguments, message):
    assert message in the_error(run("audit-reward", *arguments))
