"""Training-Free GRPO minus one thing: what is left out is left out, and nothing else."""

from __future__ import annotations

import dspy
import pytest

from optimizers.ablations import DirectTips, only_additions
from optimizers.registry import make_optimizer
from programs.demo_world import make_solver
from tfgrpo_dspy import Add, Delete, ExperienceLibrary, Modify, Proposed, TrainingFreeGRPO
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm


@pytest.fixture
def lm():
    with dspy.context(lm=simulated_lm(seed=0)):
        yield


def result_of(name, calls=None):
    optimizer = make_optimizer(name, number, calls=calls)
    return optimizer.compile(make_solver(), trainset=demo_examples(8, 0, "train")).detailed_results


def test_the_entry_runs_with_the_papers_settings(lm):
    optimizer = make_optimizer("tfgrpo", number)
    optimizer.compile(make_solver(), trainset=demo_examples(2, 0, "train"))
    settings = optimizer.fitted.settings
    assert (settings.epochs, settings.batch_size, settings.group_size, settings.temperature) == (3, None, 5, 0.7)


def test_direct_tips_are_one_call_that_sees_no_answer(lm):
    examples = demo_examples(12, 0, "train")
    program = DirectTips(size=6).compile(make_solver(), trainset=examples)
    assert 0 < len(program.experience_library) <= 6
    (call,) = dspy.settings.lm.history
    shown = str(call["messages"]).replace("\\'", "'")
    assert sum(example.question in shown for example in examples) == 10
    assert "answer:" not in shown


def test_groups_of_one_are_summarised_and_extracted_from_all_the_same(lm):
    result = result_of("tfgrpo-no-group")
    assert all(len(group.rollouts) == 1 for step in result.steps for group in step.groups)
    assert all(len(step.advantages) == 8 for step in result.steps)


def test_without_ground_truth_neither_the_metric_nor_the_answers_are_used(lm):
    def unusable(example, prediction, trace=None):
        raise AssertionError("the metric was asked")

    trainset = [dspy.Example(question=e.question).with_inputs("question") for e in demo_examples(8, 0, "train")]
    optimizer = make_optimizer("tfgrpo-no-ground-truth", unusable, calls=200)
    program = optimizer.compile(make_solver(), trainset=trainset)
    assert not optimizer.fitted.settings.use_ground_truth
    assert any(step.advantages for step in program.detailed_results.steps)


def test_a_library_that_only_grows_never_loses_or_changes_an_entry(lm):
    result = result_of("tfgrpo-add-only")
    texts: dict[str, str] = {}
    for step in result.steps:
        now = {experience.id: experience.text for experience in step.library}
        assert texts.items() <= now.items()
        texts = now
    assert texts


def test_modifications_are_added_and_deletions_refused():
    operations = [Add(text="a"), Modify(id="G0", text="b", sources=("A1",)), Delete(id="G0")]
    proposals = [Proposed(1, operation, None, ()) for operation in operations]
    decisions = only_additions(ExperienceLibrary(), proposals)
    assert [decision.verdict for decision in decisions] == ["accept", "edit", "refuse"]
    assert decisions[1].operation == Add(text="b", sources=("A1",))


def test_a_budget_draws_examples_and_keeps_epochs_and_group_size(lm):
    optimizer = make_optimizer("tfgrpo", number, calls=150)
    program = optimizer.compile(make_solver(), trainset=demo_examples(40, 0, "train"))
    steps = program.detailed_results.steps
    assert len(steps) == 3
    assert {len(step.groups) for step in steps} == {5}


def test_ours_works_inside_better_together(lm):
    examples, student = demo_examples(16, 0, "train"), make_solver()
    student.set_lm(dspy.settings.lm)
    together = dspy.BetterTogether(
        metric=number,
        ours=TrainingFreeGRPO(number, epochs=1, display_progress=False),
        demos=make_optimizer("bootstrap-fewshot", number),
    )
    program = together.compile(student, trainset=examples[:8], valset=examples[8:], strategy="ours -> demos")
    assert not program.flag_compilation_error_occurred
    assert [candidate["strategy"] for candidate in program.candidate_programs].count("ours -> demos") == 1


def test_a_chain_keeps_the_library_and_adds_demonstrations(lm):
    chain = make_optimizer("tfgrpo->bootstrap-fewshot", number)
    program = chain.compile(make_solver(), trainset=demo_examples(8, 0, "train"))
    (predictor,) = program.predictors()
    assert "<experience-library>" in predictor.signature.instructions
    assert predictor.demos
