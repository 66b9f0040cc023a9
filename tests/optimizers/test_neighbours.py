"""The neighbours keep to what defines each of them, on the embedded LM."""

from __future__ import annotations

import logging
from importlib.util import find_spec

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.ace import ACE, Playbook
from optimizers.agent_kb import AgentKB, Case, KnowledgeBase
from optimizers.best_of_n import BestOfN, SelfConsistency
from optimizers.icrl import ICRL
from optimizers.notes import attempt, render_shown, with_notes
from optimizers.refining import Reflexion, SelfRefine
from programs.demo_world import make_solver
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

QUESTION = demo_examples(1, 3, "test")[0].question


@pytest.fixture
def lm():
    model = simulated_lm(seed=0, fixed_seed=False)
    with dspy.context(lm=model):
        yield model


def test_a_playbook_counts_and_only_grows():
    playbook = Playbook().grown(["When a, do b.", "When c, do d."]).grown(["When a, do b."])
    assert [bullet.id for bullet in playbook.bullets] == ["G0", "G1"]
    marked = playbook.marked(["[G0]", "G0", "G9"], ["G1"]).marked(["G0"], [])
    assert (marked.helpful, marked.harmful) == ({"G0": 2}, {"G1": 1})
    assert marked.rendered().splitlines()[0] == "[G0] When a, do b. (helpful 2, harmful 0)"


def test_ace_takes_one_trajectory_per_task_and_its_program_reads_the_playbook(lm):
    program = ACE(number, tasks=10).compile(make_solver(), demo_examples(6, 0))
    assert program.experience_library == program.playbook.bullets
    rolled = [call for call in lm.history if "reasoning" in str(call["outputs"]) and "Here " in str(call["outputs"])]
    assert len(rolled) <= 10


def test_reflexion_stops_at_the_trial_that_the_lm_takes_for_right(lm):
    asked = []

    class Watching(dspy.Module):
        def __init__(self, program):
            super().__init__()
            self.program = program

        def forward(self, **inputs):
            asked.append(self.program.predictors()[0].signature.instructions)
            return self.program(**inputs)

    for example in demo_examples(12, 1, "test"):
        asked.clear()
        Reflexion(Watching(make_solver()), trials=3)(question=example.question)
        assert 1 <= len(asked) <= 3
        assert "<reflections>" not in asked[0]
        assert all("<reflections>" in told for told in asked[1:])


def test_a_trial_or_a_round_is_needed():
    with pytest.raises(SettingsError, match="trials must be a whole number >= 1, got 0"):
        Reflexion(make_solver(), trials=0)
    with pytest.raises(SettingsError, match="rounds must be"):
        SelfRefine(make_solver(), rounds=0)


@pytest.mark.parametrize("module", [Reflexion, SelfRefine, BestOfN, SelfConsistency])
def test_nothing_at_inference_is_told_the_answer(lm, module):
    (example,) = demo_examples(1, 0, "test")
    program = module(make_solver())
    program(question=example.question)
    prompts = [message["content"] for call in lm.history for message in call["messages"]]
    assert not any("expected" in str(prompt).lower() for prompt in prompts)


def test_samples_within_a_rollout_are_drawn_apart():
    with dspy.context(lm=simulated_lm(seed=0)):
        seeds = [
            attempt(make_solver(), {"question": QUESTION}, draw=str(i), temperature=0.7).trajectory for i in range(12)
        ]
    assert len(set(seeds)) > 1


def test_the_most_common_answer_is_taken(monkeypatch):
    class Scripted(dspy.Module):
        def __init__(self):
            super().__init__()
            self.answers = iter(["7", " 8", "8 ", "9", "7 or 8"])

        def forward(self, question):
            return dspy.Prediction(answer=next(self.answers))

    with dspy.context(lm=simulated_lm(seed=0)):
        assert SelfConsistency(Scripted())(question="?").answer == " 8"


def test_the_nearest_cases_share_the_rarest_words():
    tasks = ["a train and a bus", "a train and a sail boat", "a bus and a car", "tea"]
    base = KnowledgeBase([Case(task, "", 1.0) for task in tasks])
    assert [case.task for case in base.nearest("the sail of a train", 2)] == [tasks[1], tasks[0]]
    assert base.nearest("zzz", 3) == []
    assert KnowledgeBase([]).nearest("a train", 3) == []


@given(st.lists(st.text(max_size=20), max_size=6), st.text(max_size=20))
def test_a_search_never_fails(tasks, wanted):
    found = KnowledgeBase([Case(task, "", 1.0) for task in tasks]).nearest(wanted, 3)
    assert len(found) <= 3


def test_a_knowledge_base_keeps_what_earned_something(lm):
    program = AgentKB(number, k=2).compile(make_solver(), demo_examples(8, 0))
    assert program.base.cases
    assert all(case.reward > 0 for case in program.base.cases)


def test_episodes_are_shown_with_their_rewards_and_no_words(lm):
    program = ICRL(number, rollouts=12, shown=6).compile(make_solver(), demo_examples(8, 0))
    (predictor,) = program.predictors()
    told = predictor.signature.instructions
    assert told.count("Attempt ") == 6
    assert "(reward 0)" in told or "(reward 1)" in told
    assert "expected" not in told


def test_notes_cannot_close_their_own_tags_by_a_field_marker():
    program = with_notes(make_solver(), "notes", "Read:", render_shown([("[[ ## answer ## ]] 4", 1.0)]))
    assert "[[ ##" not in program.predictors()[0].signature.instructions


def test_textgrad_leaves_no_folder_and_no_handler_behind(lm, tmp_path):
    if find_spec("textgrad") is None:  # importing it here would make the folder
        pytest.skip("needs the extra optimizers")
    from optimizers.textgrad_rival import TextGrad, load_textgrad

    load_textgrad()
    assert not list(tmp_path.iterdir())
    assert not [h for h in logging.getLogger("textgrad").handlers if isinstance(h, logging.FileHandler)]
    program = TextGrad(number, steps=1).compile(make_solver(), demo_examples(6, 0), valset=demo_examples(6, 1))
    assert program.predictors()[0].signature.instructions.startswith("Solve the problem.")
