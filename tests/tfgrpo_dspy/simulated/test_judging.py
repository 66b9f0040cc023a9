"""The embedded LM as a judge, as a reader of attempts in its instructions, and in prompts that name no fields."""

from __future__ import annotations

import json
import random

import dspy
import pytest

from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.attempts import listed_attempts, read_alone, read_attempts
from tfgrpo_dspy.simulated.judging import choose, cited, criticise
from tfgrpo_dspy.simulated.policy import attempt
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.understanding import meaning
from tfgrpo_dspy.simulated.world import answers_match

KIND = "a trip goes out at one speed and back at another speed"
RIGHT = f"Here {KIND}. First, divide the total distance by the total time: 200 / 5 = 40. So the answer is 40."
WRONG = f"Here {KIND}. First, take the mean of the two speeds: (30 + 60) / 2 = 45. So the answer is 45."
LESSON = f"When {KIND}, divide the total distance by the total time; do not take the mean of the two speeds."
EXAMPLES = demo_examples(64, 5, "test")


def asking(question, **inputs):
    return Prompt("", {"task": question, **inputs}, (), "chat")


def solved(example, rng):
    return attempt(asking(example.question), example.question, 0.7, rng)


def test_a_judge_without_the_answer_is_right_more_often_than_not_and_far_from_always():
    agreed = []
    for i, example in enumerate(EXAMPLES * 4):
        made = solved(example, random.Random(i))
        shown = asking(example.question, answer_given=made.reasoning)
        opinion = criticise(shown, read_attempts(shown.inputs)[0], 0.7, random.Random(-i))
        agreed.append(opinion.agrees == answers_match(example.answer, made.answer))
    assert 0.4 < sum(agreed) / len(agreed) < 0.75


@pytest.mark.parametrize(("name", "told"), [("expected", "answer: 40"), ("reward", "1")])
def test_a_judge_that_is_told_goes_by_it(name, told):
    for text, agrees in ((RIGHT, True), (WRONG, False)):
        value = told if name == "expected" else str(int(agrees))
        shown = asking("?", trajectory=text, **{name: value})
        assert criticise(shown, read_alone(shown.inputs), 0.7, random.Random(0)).agrees == agrees


def test_a_critique_is_advice_that_the_policy_understands():
    for i, example in enumerate(EXAMPLES):
        made = solved(example, random.Random(i))
        shown = asking(example.question, answer_given=made.reasoning)
        opinion = criticise(shown, read_attempts(shown.inputs)[0], 0.7, random.Random(i + 1000))
        if opinion.critique.startswith("When "):
            assert meaning(opinion.critique.splitlines()[0])
            return
    pytest.fail("no critique told two ways apart")


def test_the_choice_falls_on_the_answer_that_the_judge_comes_to_or_else_the_common_one():
    attempts = read_attempts({"attempts": f"Attempt 1:\n{WRONG}\n\nAttempt 2:\n{RIGHT}\n\nAttempt 3:\n{RIGHT}"})
    assert choose(asking("a task of no known kind"), attempts, 0.7, random.Random(0)) == 2


def test_cited_advice_is_helpful_or_harmful_by_the_reward():
    steps = "First, take the mean (following [G3]): 1 = 1. So the answer is 1."
    for reward, helpful in ((1.0, ["G3"]), (0.0, [])):
        shown = read_attempts({"trajectory": steps, "reward": str(reward)})
        assert cited(shown, helpful=True) == helpful
        assert cited(shown, helpful=False) == [id for id in ["G3"] if not helpful]


def test_a_json_list_of_attempts_with_feedback_is_read():
    records = [
        {"Inputs": {"question": "?"}, "Generated Outputs": {"reasoning": text}, "Feedback": verdict}
        for text, verdict in ((RIGHT, "Correct: 40."), (WRONG, "Wrong: expected 40, got 45."))
    ]
    shown = read_attempts({"examples_with_feedback": json.dumps(records)})
    assert [(made.answer, made.reward) for made in shown] == [("40", 1.0), ("45", 0.0)]


def test_a_list_of_attempts_ends_at_a_closing_tag():
    text = f"Solve.\n<earlier>\nAttempt 1 (reward 1):\n{RIGHT}\n</earlier>\nBe brief."
    listed = listed_attempts(text)
    assert [shown.reward for _, shown in listed.attempts] == [1.0]
    assert "Be brief." in listed.rest
    assert "40" not in listed.rest


@pytest.mark.parametrize(("reward", "better"), [("1", True), ("0", False)])
def test_attempts_in_the_instructions_are_followed_unless_they_earned_little(reward, better):
    trips = [e for e in demo_examples(320, 2, "test") if meaning_of(e) == "average speed"]
    past = f"Solve.\n<earlier>\nAttempt 1 (reward {reward}):\n{trips.pop().question}\n{RIGHT}\n</earlier>"

    def score(instructions):
        made = [
            attempt(Prompt(instructions, {"q": e.question}, (), "chat"), e.question, 0.7, random.Random(i))
            for i, e in enumerate(trips)
        ]
        return sum(answers_match(e.answer, m.answer) for e, m in zip(trips, made, strict=True)) / len(trips)

    assert (score(past) > score("Solve.") + 0.2) == better


def meaning_of(example):
    from tfgrpo_dspy.simulated.world import recognise

    found = recognise(example.question)
    return found[0].name if found else ""


@pytest.mark.parametrize("typed", ["", ": list[str]"])
def test_the_best_of_several_scored_instructions_is_built_on(typed):
    tried = [
        "Instruction #1: Solve it.",
        "Prefix #1: A:",
        "Score #1: 20.0",
        "Instruction #2: Think.\n- When in doubt, stop.",
    ]
    with dspy.context(lm=simulated_lm(cache=False)):
        reply = dspy.Predict(f"attempted_instructions{typed} -> proposed_instruction")(
            attempted_instructions=[*tried, "Prefix #2: A:", "Score #2: 60.0"]
        )
    assert reply.proposed_instruction.startswith("Think.\n- When in doubt, stop.\n- ")


def test_an_improved_text_is_put_between_the_tags_asked_for():
    past = "".join(
        f"<CONVERSATION><LM_SYSTEM_PROMPT> Solve. </LM_SYSTEM_PROMPT> {text}</CONVERSATION>\n<FEEDBACK>It earned {r}."
        "</FEEDBACK>\n"
        for text, r in ((RIGHT, 1), (WRONG, 0))
    )
    asked = f"Improve the variable.\n{past}\nAnswer with <IMPROVED_VARIABLE>{{it}}</IMPROVED_VARIABLE>"
    (reply,) = simulated_lm(cache=False, seed=1)(asked)
    assert reply == f"<IMPROVED_VARIABLE>Solve.\n- {LESSON}</IMPROVED_VARIABLE>"


def test_feedback_asked_for_in_words_says_how_the_attempt_went():
    (reply,) = simulated_lm(cache=False)(f"Give feedback to this answer.\n{WRONG}\nreward: 0")
    assert reply.startswith("It earned 0, so something above went wrong")
