"""What the embedded LM can learn from: told by what a prompt shows, whoever wrote the prompt."""

from __future__ import annotations

import random

import dspy
import pytest

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.attempts import told_attempts
from tfgrpo_dspy.simulated.policy import explained
from tfgrpo_dspy.simulated.prompt import Learns, Prompt
from tfgrpo_dspy.simulated.reflection import COMMONPLACES, draw_lesson
from tfgrpo_dspy.simulated.understanding import meaning
from tfgrpo_dspy.simulated.world import recognise

EXAMPLE = next(e for e in demo_examples(60, 0) if "average speed" in e.question)
TASK = f"question: {EXAMPLE.question}"
KIND = "Here a trip goes out at one speed and back at another speed."
WRONG = f"{KIND} First, take the mean of the two speeds: (2 + 4) / 2 = 3."
RIGHT = explained(*recognise(TASK), TASK).reasoning
POOR, GOOD = f"{WRONG} So the answer is 3.", RIGHT


def lesson(inputs: dict[str, str], learns: Learns) -> str | None:
    """What is learned, if it is more than a commonplace; of several draws, as each may fail."""
    prompt = Prompt("Compare.", inputs, (), "chat", learns=learns)
    for seed in range(12):
        written = draw_lesson(prompt, random.Random(seed)).experiences
        if found := [text for text in written if text not in COMMONPLACES]:
            return found[0]
    return None


SHOWN = {
    "a field of its own": {"task": TASK, "trajectory": POOR, "reward": "0", "expected": EXAMPLE.answer},
    "another name for it": {"task": TASK, "trajectory": POOR, "score": "0", "gold_label": EXAMPLE.answer},
    "feedback in the text": {
        "examples": f"# Example 1\n{TASK}\nreasoning: {POOR}\nFeedback: Wrong: expected {EXAMPLE.answer}, got 3."
    },
    "one plain text": {"": f"{TASK}\n{POOR}\nIt earned 0. The correct answer is {EXAMPLE.answer}."},
}


@pytest.mark.parametrize("where", SHOWN)
def test_a_failure_beside_its_expected_answer_teaches_whom_it_can_teach(where: str) -> None:
    assert told_attempts(SHOWN[where]), "the attempt is seen at all"
    assert lesson(SHOWN[where], "contrast") is None
    for learns in ("answer", "both"):
        found = lesson(SHOWN[where], learns)
        assert found is not None
        assert any(stance.helps for stance in meaning(found))


@pytest.mark.parametrize(
    "inputs",
    [
        {"task": TASK, "trajectory": POOR, "reward": "0"},
        {"task": TASK, "trajectory": POOR, "reward": "0", "expected": "123456"},
        {"task": "question: Why?", "trajectory": POOR, "reward": "0", "expected": EXAMPLE.answer},
        {"task": TASK, "trajectory": GOOD, "reward": "1", "expected": EXAMPLE.answer},
    ],
    ids=["no answer is shown", "no way leads to it", "an unknown task", "a success"],
)
def test_without_a_failure_and_an_answer_that_it_can_reach_nothing_is_learned(inputs: dict[str, str]) -> None:
    assert lesson(inputs, "both") is None


def test_a_contrast_teaches_whom_it_can_teach() -> None:
    attempts = f"Attempt 1 (reward 1):\n{GOOD}\n\nAttempt 2 (reward 0):\n{POOR}"
    found = {learns: lesson({"task": TASK, "attempts": attempts}, learns) for learns in ("contrast", "answer", "both")}
    assert found["contrast"] == found["both"] is not None
    assert found["answer"] is None, "no expected answer is shown"


def test_an_ability_is_part_of_what_an_lm_is() -> None:
    states = {}
    for learns in ("contrast", "answer", "both"):
        engine = simulated_lm(learns=learns).engine
        states[learns] = engine.dump_state()
        assert type(engine).load_state(states[learns]).learns == learns
    assert states["contrast"] == {"seed": 0}
    assert states["answer"] == {"seed": 0, "learns": "answer"}
    with pytest.raises(SettingsError, match="learns must be one of contrast, answer, both, got 'all'"):
        simulated_lm(learns="all")


def test_what_answers_a_question_is_the_same_under_every_ability() -> None:
    said = []
    for learns in ("contrast", "answer", "both"):
        with dspy.context(lm=simulated_lm(3, cache=False, learns=learns)):
            said.append(dspy.ChainOfThought("question -> answer")(question=EXAMPLE.question).toDict())
    assert said[0] == said[1] == said[2]
