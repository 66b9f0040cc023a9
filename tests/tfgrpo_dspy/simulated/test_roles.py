from __future__ import annotations

import random

import dspy
import pytest

from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify
from tfgrpo_dspy.signatures import ExtractAdvantage, SummarizeRollout, UpdateLibrary, without
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.attempts import read_attempts
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.reflection import COMMONPLACES, contrast, draw_lesson
from tfgrpo_dspy.simulated.tips import TIPS
from tfgrpo_dspy.simulated.understanding import meaning
from tfgrpo_dspy.simulated.updating import merge, read_candidates, update

KIND = "a trip goes out at one speed and back at another speed"
READ = f"The task was read as one where {KIND}."
RIGHT = f"{READ} First, divide the total distance by the total time: 200 / 5 = 40. The attempt answered 40."
WRONG = f"{READ} First, take the mean of the two speeds: (30 + 60) / 2 = 45. The attempt answered 45."
LESSON = f"When {KIND}, divide the total distance by the total time; do not take the mean of the two speeds."
MISLEADING = f"When {KIND}, take the mean of the two speeds; do not divide the total distance by the total time."


@pytest.fixture(params=[dspy.ChatAdapter, dspy.JSONAdapter])
def lm(request, monkeypatch):
    """The embedded LM at its most attentive; its lapses have tests of their own."""
    monkeypatch.setattr("tfgrpo_dspy.simulated.reflection.VAGUE", 0.0)
    monkeypatch.setattr("tfgrpo_dspy.simulated.updating.OVERLOOKED", 0.0)
    model = simulated_lm(seed=0, cache=False)
    with dspy.context(lm=model, adapter=request.param()):
        yield model


def attempts(*pairs):
    return "\n\n".join(
        f"Attempt {i}{'' if reward is None else f' (reward {reward})'}:\n{text}"
        for i, (reward, text) in enumerate(pairs, 1)
    )


def extract(shown, experiences="(none yet)", expected=None, limits="at most 1 new, each of at most 32 words"):
    signature = ExtractAdvantage if expected else without(ExtractAdvantage, "expected")
    inputs = {
        "objective": "solve",
        "task": "question: ...",
        "attempts": shown,
        "experiences": experiences,
        "limits": limits,
    }
    return dspy.Predict(signature)(**inputs, **({"expected": expected} if expected else {}))


def update_library(advantages, experiences="(none yet)", limits="each text at most 32 words"):
    inputs = {"objective": "solve", "experiences": experiences, "advantages": advantages, "limits": limits}
    return dspy.Predict(UpdateLibrary)(**inputs).operations


def advantage(label, *candidates):
    return "\n".join(
        [f"{label} (task: question: A bus ...)", "Why some won: x", "Candidates:", *(f"- {c}" for c in candidates)]
    )


def test_a_summary_tells_the_steps_the_answer_and_the_outcome(lm):
    trajectory = (
        f"Step 1: predict\n  in question: ...\n  out reasoning: Here {KIND}. First, take the mean of the two speeds "
        "(following [G3]): (30 + 60) / 2 = 45. So the answer is 45.\n  out answer: 45"
    )
    inputs = {
        "objective": "solve",
        "task": "...",
        "trajectory": trajectory,
        "reward": "0",
        "feedback": "",
        "expected": "answer: 40",
    }
    summary = dspy.Predict(SummarizeRollout)(**inputs).summary
    assert KIND in summary
    assert "take the mean of the two speeds (following [G3])" in summary
    assert "answered 45" in summary
    assert "answer: 40" in summary


def test_without_a_reward_a_summary_does_not_say_whether_it_was_right(lm):
    signature = without(SummarizeRollout, "reward", "feedback", "expected")
    summary = dspy.Predict(signature)(objective="solve", task="...", trajectory="  out answer: 45").summary
    assert "cannot be said" in summary


def test_a_contrast_becomes_an_experience_in_the_words_of_the_better_attempts(lm):
    reply = extract(attempts((1.0, RIGHT), (0.0, WRONG), (1.0, RIGHT)))
    assert reply.lesson == LESSON
    assert "mean of the two speeds" in reply.comparison


def test_the_limit_on_words_is_kept(lm):
    reply = extract(attempts((1.0, RIGHT), (0.0, WRONG)), limits="at most 1 new, each of at most 22 words")
    assert reply.lesson == f"When {KIND}, divide the total distance by the total time."
    reply = extract(attempts((1.0, RIGHT), (0.0, WRONG)), limits="at most 1 new, each of at most 5 words")
    assert reply.lesson == "none"


def test_what_the_experiences_say_already_is_not_written_again(lm):
    known = "[G4] When a round trip has two speeds, use total distance over total time."
    assert extract(attempts((1.0, RIGHT), (0.0, WRONG)), experiences=known).lesson == "none"


@pytest.mark.parametrize("pairs", [[(1.0, RIGHT)], [(0.0, WRONG)], [(0.0, WRONG)] * 3, [(1.0, RIGHT)] * 2])
def test_without_a_contrast_only_commonplaces_are_left(lm, pairs):
    reply = extract(attempts(*pairs), expected="answer: 40")
    assert reply.lesson in COMMONPLACES


def test_without_rewards_the_majority_is_believed_even_when_it_is_wrong(lm):
    reply = extract(attempts((None, WRONG), (None, WRONG), (None, RIGHT)))
    assert reply.lesson == MISLEADING


def test_without_rewards_a_shown_expected_answer_parts_the_attempts(lm):
    reply = extract(attempts((None, WRONG), (None, WRONG), (None, RIGHT)), expected="answer: 40")
    assert reply.lesson == LESSON


def test_raw_trajectories_can_be_contrasted_too():
    raw = f"Step 1: predict\n  out reasoning: Here {KIND}. First, {{}}: 1 = 1. So the answer is 4.\n  out answer: 4"
    shown = attempts(
        (1.0, raw.format("use the entire distance over the entire time")),
        (0.0, raw.format("take the mean of the two speeds")),
    )
    (difference,) = contrast(read_attempts({"attempts": shown}))
    assert difference.better == "use the entire distance over the entire time"


def test_two_wordings_of_one_step_are_no_difference():
    other = RIGHT.replace("divide the total distance by the total time", "use the entire distance over the entire time")
    assert contrast(read_attempts({"attempts": attempts((1.0, RIGHT), (0.0, other))})) == []


def test_a_new_candidate_is_added_with_its_label(lm):
    (operation,) = update_library(advantage("A0", LESSON))
    assert operation == Add(text=LESSON, reason=operation.reason, sources=("A0",))


def test_candidates_that_say_the_same_are_merged_with_all_their_labels(lm):
    same = "When a round trip has two speeds, use the entire distance over the entire time."
    operations = update_library(advantage("A0", LESSON) + "\n\n" + advantage("A1", same))
    assert [(type(o), o.sources) for o in operations] == [(Add, ("A0", "A1"))]


def test_an_entry_that_says_it_already_is_kept_or_sharpened(lm):
    vaguer = f"[G0] When {KIND}, divide the total distance by the total time."
    (operation,) = update_library(advantage("A0", LESSON), experiences=vaguer)
    assert operation == Modify(id="G0", text=LESSON, reason=operation.reason, sources=("A0",))
    (operation,) = update_library(advantage("A0", LESSON), experiences=f"[G0] {LESSON}")
    assert operation == Keep(id="G0", reason=operation.reason, sources=("A0",))


def test_an_entry_that_says_the_opposite_gives_way(lm):
    operations = update_library(advantage("A2", LESSON), experiences=f"[G5] {MISLEADING}")
    assert [type(o) for o in operations] == [Delete, Add]
    assert operations[0].id == "G5"


def test_pinned_entries_and_the_limit_on_entries_are_respected(lm):
    pinned = "each text at most 32 words; pinned, not to be changed: G5"
    assert not [
        o for o in update_library(advantage("A2", LESSON), f"[G5] {MISLEADING}", pinned) if isinstance(o, Delete)
    ]
    full = "each text at most 32 words; at most 1 entries (now 1)"
    assert [type(o) for o in update_library(advantage("A2", LESSON), "[G5] Draw a sketch.", full)] == [Keep]


def test_nothing_new_is_answered_with_a_keep(lm):
    assert [type(o) for o in update_library("A0 (task: x)\nWhy some won: y\nCandidates:\n(none)")] == [Keep]


def test_unlabelled_candidates_are_read_too():
    assert [c.text for c in read_candidates("Candidates:\n- one\n* two\nno bullet")] == ["one", "two"]
    assert len(merge(read_candidates("- Check the result.\n- Check the results."))) == 2


def test_now_and_then_a_contrast_is_wasted_on_a_commonplace():
    prompt = Prompt("", {"attempts": attempts((1.0, RIGHT), (0.0, WRONG))}, (), "chat")
    lessons = [draw_lesson(prompt, random.Random(i)).experiences for i in range(400)]
    assert 360 > lessons.count([LESSON]) - 1 > 300
    assert all(set(lesson) <= {LESSON, *COMMONPLACES} for lesson in lessons)


def test_now_and_then_an_entry_is_overlooked():
    prompt = Prompt("", {"experiences": f"[G0] {LESSON}", "advantages": advantage("A0", LESSON)}, (), "chat")
    kinds = [update(prompt, random.Random(i))[0]["op"] for i in range(400)]
    assert 0 < kinds.count("add") < 40


def test_tips_without_attempts_come_from_what_is_at_hand(lm):
    tips = dspy.Predict("task_descriptions: list[str] -> tips: list[str]")(
        task_descriptions=["Solve word problems."]
    ).tips
    assert tips
    assert set(tips) <= set(TIPS)


def test_an_instruction_is_rewritten_with_the_present_one_kept(lm):
    signature = "basic_instruction -> proposed_instruction, proposed_prefix_for_output_field"
    written = dspy.Predict(signature)(basic_instruction="Solve it.").proposed_instruction
    assert written.startswith("Solve it.\n- ")


def test_advice_by_module_contrasts_a_better_and_a_worse_trajectory(lm):
    signature = (
        "better_program_trajectory, better_reward_value: float, worse_program_trajectory, worse_reward_value: float, "
        "module_names: list[str] -> discussion, module_advice: dict[str, str]"
    )
    reply = dspy.Predict(signature)(
        better_program_trajectory=RIGHT,
        better_reward_value=1.0,
        worse_program_trajectory=WRONG,
        worse_reward_value=0.0,
        module_names=["predict"],
    )
    assert reply.module_advice == {"predict": LESSON}


def test_a_plain_request_for_instructions_is_answered_between_fences():
    task = "Your task is to write a new instruction. Put it within ``` blocks."
    text = f"I gave an assistant these instructions:\n```\nSolve it.\n```\n{task}"
    (reply,) = simulated_lm(cache=False)(text)
    assert reply.startswith("```\nSolve it.\n- ")


def test_an_agent_finishes_with_the_answer_it_thought_of(lm):
    example = demo_examples(1, 4)[0]
    agent = dspy.ReAct("question -> answer", tools=[lookup], max_iters=3)
    reply = agent(question=example.question)
    assert reply.trajectory["tool_name_0"] == "finish"
    assert reply.trajectory["thought_0"].endswith(f"So the answer is {reply.answer}.")


def test_an_agent_looks_an_unknown_thing_up_once(lm):
    reply = dspy.ReAct("question -> answer", tools=[lookup], max_iters=5)(question="Who wrote Faust?")
    tools = [value for name, value in reply.trajectory.items() if name.startswith("tool_name")]
    assert tools == ["lookup", "finish"]


def lookup(query: str) -> str:
    """Look something up."""
    return f"nothing on {query}"


@pytest.mark.parametrize("lesson", [LESSON, MISLEADING])
def test_what_is_written_here_is_understood_by_the_policy(lesson):
    assert {stance.helps for stance in meaning(lesson)} == {lesson == LESSON}
