"""The neighbours keep to what defines each of them, on the embedded LM."""

from __future__ import annotations

import logging
from importlib.util import find_spec

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.ace import ACE, Playbook
from optimizers.authors import Authors, carried_out
from optimizers.best_of_n import BestOfN, SelfConsistency
from optimizers.cheatsheet import DynamicCheatsheet
from optimizers.icrl import ICRL
from optimizers.nearest import Case, KnowledgeBase, NearestAttempts
from optimizers.notes import attempt, render_shown, with_notes
from optimizers.reasoning_bank import ReasoningBank
from optimizers.refining import Reflexion, SelfRefine
from programs.demo_world import make_solver
from tests.optimizers.counting import CountingEngine, counting_lm
from tfgrpo_dspy import Add, Delete, ExperienceLibrary, Modify, SettingsError, attach, read_library
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm


@pytest.fixture
def asked():
    engine = CountingEngine()
    with dspy.context(lm=counting_lm(engine, cache=False)):
        yield engine.prompts


QUESTION = demo_examples(1, 3, "test")[0].question


@pytest.fixture
def lm():
    model = simulated_lm(seed=0, fixed_seed=False)
    with dspy.context(lm=model):
        yield model


def test_a_playbook_counts_and_only_grows():
    playbook = Playbook().grown(["When a, do b.", "When c, do d."]).grown(["When a, do b."])
    assert [bullet.id for bullet in playbook.bullets] == ["str-00001", "str-00002"]
    marked = playbook.marked(["[str-00001]", "str-00001", "str-00009"], ["str-00002"]).marked(["str-00001"], [])
    assert [(bullet.helpful, bullet.harmful) for bullet in marked.bullets] == [(2, 0), (0, 1)]
    assert marked.rendered().splitlines()[:2] == ["## STRATEGIES", "[str-00001] When a, do b. (helpful 2, harmful 0)"]
    assert marked.grown(["no"], "OTHERS").rendered().endswith("\n\n## OTHERS\n[oth-00003] no (helpful 0, harmful 0)")


TRAINED = "\n".join(
    ["## STRATEGIES AND HARD RULES", "[shr-00001] End code blocks with ``` and a newline(\\n)."]
    + [
        f"[shr-{i:05d}] When task {i} asks for it, {f'check field_{i} of the reply, ' * 12}then go on."
        for i in range(5, 200)
    ]
    + ["", "## APIs TO USE FOR SPECIFIC INFORMATION"]
    + [
        f"[api-{i:05d}] helpful={i} harmful=1 :: Call show_{i}(id={{x}}) for the {i}th: `a[0]` <b>"
        for i in range(200, 323)
    ]
)
"""A playbook of the size and shape of those that ACE's authors published; some of its bullets begin alike."""


@pytest.mark.parametrize("start", ["file", "student"])
def test_ace_goes_on_from_a_trained_playbook_and_loses_none_of_its_bullets(start, asked, tmp_path):
    path = tmp_path / "playbook.txt"
    path.write_text(TRAINED, encoding="utf-8")
    student, given = make_solver(), Playbook.read(path)
    if start == "student":
        student, given = attach(student, read_library(path)), None
    program = ACE(number, calls=30, playbook=given).compile(student, demo_examples(6, 0))
    texts = [entry.text for entry in read_library(path)]
    assert len(texts) == 319
    assert [bullet.text for bullet in program.playbook.bullets][:319] == texts
    assert len(program.playbook.bullets) > 319
    told = program.predictors()[0].signature.instructions
    assert all(told.count(text) == 1 for text in texts[:20])
    program.playbook.write(tmp_path / "grown.txt")
    back = Playbook.read(tmp_path / "grown.txt")
    assert {bullet.id: bullet for bullet in back.bullets} == {bullet.id: bullet for bullet in program.playbook.bullets}
    if start == "file":
        assert back.rendered().startswith("## STRATEGIES AND HARD RULES\n[shr-00001] End code")
        assert next(b for b in back.bullets if b.id == "api-00322").helpful >= 322


@given(
    st.lists(st.text("ab ", min_size=1, max_size=400).filter(str.strip), unique_by=lambda text: " ".join(text.split()))
)
def test_no_default_of_ours_keeps_a_bullet_out_of_a_rivals_playbook(texts):
    assert [bullet.text for bullet in Playbook().grown(texts).bullets] == [" ".join(text.split()) for text in texts]


def test_ace_tries_a_failed_task_again_with_the_reflection_and_its_program_reads_the_counters(asked):
    program = ACE(number, calls=60, rounds=3).compile(make_solver(), demo_examples(6, 0))
    told = program.predictors()[0].signature.instructions
    assert program.playbook.bullets
    assert program.playbook.rendered() in told
    again = sum("Of your last attempt at this very task" in prompt for prompt in asked)
    assert 0 < again < len(asked) / 2


@pytest.mark.parametrize("calls", [2, 3, 7, 60])
def test_ace_never_takes_more_calls_than_it_is_given(calls, asked):
    ACE(number, calls=calls, rounds=3).compile(make_solver(), demo_examples(6, 0))
    assert 3 * (calls // 3) // 2 <= len(asked) <= calls


def test_icrl_shows_what_earned_something_another_draw_with_each_task_and_never_the_task_itself(asked):
    trainset = demo_examples(12, 0)
    program = ICRL(number, rollouts=24, shown=6).compile(make_solver(), trainset)
    assert program.episodes
    assert all(reward > 0 for _, reward in program.episodes)
    asked.clear()
    for example in trainset:
        program(question=example.question)
    shown = [text.partition("<earlier-attempts>")[2].partition("</earlier-attempts>")[0] for text in asked]
    assert len(set(shown)) > 1
    assert not any(example.question in text for example, text in zip(trainset, shown, strict=True))


def test_reasoning_bank_judges_by_itself_and_looks_at_no_label(asked):
    def unusable(example, prediction, trace=None):
        return 0.0

    program = ReasoningBank(unusable).compile(make_solver(), demo_examples(8, 0))
    assert program.base.cases
    assert all(case.reward is None and case.summary.startswith("- ") for case in program.base.cases)
    assert not any("expected" in prompt.lower() for prompt in asked)


def test_a_cheatsheet_is_read_by_the_next_task_and_by_the_program(asked):
    program = DynamicCheatsheet(number, tasks=4).compile(make_solver(), demo_examples(6, 0))
    assert program.cheatsheet in program.predictors()[0].signature.instructions
    read = ["(empty)" in prompt for prompt in asked if "<cheatsheet>" in prompt]
    assert read == [True, False, False, False]


@pytest.mark.parametrize("version", ["paper", "2026"])
def test_the_authors_pipelines_learn_from_mixed_groups_and_number_entries_anew(lm, version):
    program = Authors(number, version=version, epochs=2).compile(make_solver(), demo_examples(8, 0))
    library = program.experience_library
    assert [entry.id for entry in library] == [f"G{i}" for i in range(len(library))]
    assert len(library) > 2
    assert "[G0]" in program.predictors()[0].signature.instructions


def test_the_authors_filter_passes_over_groups_that_are_all_right_or_all_wrong(asked):
    program = Authors(lambda *_: 1.0, epochs=1).compile(make_solver(), demo_examples(3, 0))
    assert not program.experience_library
    assert len(asked) == 15


def test_of_the_authors_operations_the_last_on_an_entry_counts_and_one_on_no_entry_is_added():
    library = ExperienceLibrary().apply([Add(text="a"), Add(text="b")]).library
    plan = [
        Modify(id="G0", text="x " * 60),
        Delete(id="G1"),
        Modify(id="G0", text="y " * 60),
        Modify(id="G9", text="z"),
    ]
    texts = [entry.text for entry in carried_out(library, [dspy.Prediction(operations=plan), None])]
    assert texts == [("y " * 60).strip(), "z"]


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
            self.answers = iter(["7", " 8", "8.0", "9", "7 or 8"])

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
    program = NearestAttempts(number, k=2).compile(make_solver(), demo_examples(8, 0))
    assert program.base.cases
    assert all(case.reward > 0 for case in program.base.cases)


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
