from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.simulated.families import FAMILIES
from tfgrpo_dspy.simulated.policy import Heard, advice_in, at_temperature, attempt, fall_chance
from tfgrpo_dspy.simulated.prompt import Demo, Prompt
from tfgrpo_dspy.simulated.steps import steps_in
from tfgrpo_dspy.simulated.world import answers_match, make_problems

CHANCES = st.floats(0.01, 0.99)
REMEDIES = [f"When {f.kinds[0]}, {fork.right[0]}; do not {fork.wrong[0]}." for f in FAMILIES for fork in f.forks]


def prompt(question, instructions="", demos=()):
    return Prompt(instructions, {"question": question}, (), "plain", demos)


def library(texts):
    lines = [f"[G{i}] {text}" for i, text in enumerate(texts)]
    return "\n".join(["Solve the task.", "", "<experience-library>", *lines, "</experience-library>"])


def mean_reward(instructions, *, n=320, rollouts=4, temperature=0.7, demos=()):
    problems = make_problems(n, 77, "test")
    rng = random.Random(0)
    rewards = [
        answers_match(p.answer, attempt(prompt(p.question, instructions, demos), p.question, temperature, rng).answer)
        for p in problems
        for _ in range(rollouts)
    ]
    return sum(rewards) / len(rewards)


def test_strength_is_honest_without_advice_and_high_with_the_right_library():
    assert 0.38 <= mean_reward("") <= 0.50
    assert 0.84 <= mean_reward(library(REMEDIES)) <= 0.94


def test_misleading_and_irrelevant_advice_hurt():
    wrong_way = [f"When {f.kinds[0]}, {fork.wrong[0]}; do not {fork.right[0]}." for f in FAMILIES for fork in f.forks]
    idle = [f"When writing letter {i}, keep the sentences short." for i in range(30)]
    bare = mean_reward("")
    assert mean_reward(library(wrong_way)) < bare - 0.1
    assert mean_reward(library(idle)) < bare - 0.02


def test_most_groups_of_five_hold_both_rewards():
    rng = random.Random(1)
    problems = make_problems(160, 5)
    sums = [
        sum(answers_match(p.answer, attempt(prompt(p.question), p.question, 0.7, rng).answer) for _ in range(5))
        for p in problems
    ]
    assert sum(0 < total < 5 for total in sums) > 0.75 * len(problems)


def test_temperature_zero_is_deterministic():
    for p in make_problems(32, 8):
        answers = {attempt(prompt(p.question), p.question, 0.0, random.Random(i)).answer for i in range(5)}
        assert len(answers) == 1


def test_followed_advice_is_cited_and_its_step_is_shown():
    p = next(p for p in make_problems(32, 8) if p.family == "average speed")
    advice = library(["When nothing fits, wait.", "When a trip has two speeds, divide total distance by total time."])
    made = attempt(prompt(p.question, advice), p.question, 0.0, random.Random(0))
    assert made.answer == p.answer
    assert "(following [G1]):" in made.reasoning
    assert steps_in(made.reasoning)[0].followed == "G1"


def test_a_solved_example_of_the_same_kind_works_like_advice():
    p, other = [p for p in make_problems(64, 8) if p.family == "average speed"][:2]
    shown = attempt(prompt(other.question, library(REMEDIES)), other.question, 0.0, random.Random(0)).reasoning
    demos = (Demo(other.question, shown),)
    right = [
        attempt(prompt(p.question, "", demos), p.question, 0.7, random.Random(i)).answer == p.answer for i in range(200)
    ]
    bare = [attempt(prompt(p.question), p.question, 0.7, random.Random(i)).answer == p.answer for i in range(200)]
    assert sum(right) > 160 > sum(bare)


@given(seed=st.integers(0, 1000))
def test_the_answer_is_the_last_number_of_the_reasoning(seed):
    p = make_problems(1, seed)[0]
    made = attempt(prompt(p.question), p.question, 0.7, random.Random(seed))
    assert made.reasoning.endswith(f"So the answer is {made.answer}.")


@given(text=st.text(), seed=st.integers(0, 1000))
def test_any_text_gets_an_answer(text, seed):
    made = attempt(prompt(text), text, 1.0, random.Random(seed))
    assert made.answer


def test_an_unknown_problem_is_answered_with_a_guess_that_says_so():
    text = "Natalia sold clips to 48 friends in April and half as many in May. How many altogether?"
    made = attempt(prompt(text), text, 0.7, random.Random(0))
    assert not made.sure
    assert "not sure" in made.reasoning


@given(chance=CHANCES, difficulty=st.floats(-0.8, 0.8))
def test_help_lowers_and_misleading_raises_the_chance_to_fall(chance, difficulty):
    bare = fall_chance(chance, Heard(), 0.0, difficulty)
    assert fall_chance(chance, Heard(helps=("G1",)), 0.0, difficulty) < bare
    assert fall_chance(chance, Heard(misleads=("G1",)), 0.0, difficulty) > bare
    assert fall_chance(chance, Heard(("G1",), ("G2",)), 0.0, difficulty) == bare
    assert bare <= fall_chance(chance, Heard(), 0.05, difficulty) <= 1.0


@given(chance=CHANCES, temperature=st.floats(0.0, 2.0))
def test_heat_moves_a_chance_towards_even_and_never_past_it(chance, temperature):
    moved = at_temperature(chance, temperature)
    assert 0.0 <= moved <= 1.0
    assert (moved - 0.5) * (chance - 0.5) >= 0
    if temperature > 0.7:
        assert abs(moved - 0.5) <= abs(chance - 0.5) + 1e-9


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("[G7] When a, do b.", ("G7", "When a, do b.", True)),
        ("- Do b.", ("", "Do b.", True)),
        ("Solve the task.", ("", "Solve the task.", False)),
        ("If a holds, do b.", ("", "If a holds, do b.", True)),
    ],
)
def test_advice_is_found_as_entries_list_items_and_sentences(line, found):
    assert advice_in(line) == (found,)
