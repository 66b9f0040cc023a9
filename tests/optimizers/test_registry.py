"""The line-up: every entry compiles the demo student through the same call."""

from __future__ import annotations

import dspy
import pytest

from optimizers.registry import LINE_UP, make_optimizer
from programs.demo_world import make_solver
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm


@pytest.mark.parametrize("name", LINE_UP)
def test_every_entry_compiles_the_demo_student(name):
    student = make_solver()
    before = student.dump_state()
    with dspy.context(lm=simulated_lm(seed=0)):
        compiled = make_optimizer(name, number).compile(student, trainset=demo_examples(8, 0, "train"))
        answer = compiled(question=demo_examples(1, 0, "test")[0].question).answer
    assert compiled is not student
    assert student.dump_state() == before
    assert answer


def test_an_unknown_name_lists_the_line_up():
    with pytest.raises(SettingsError, match="there is no optimizer 'tfgpro'; the line-up is: none, tfgrpo, "):
        make_optimizer("tfgpro", number)


def test_bootstrap_takes_only_what_the_metric_accepts_for_a_demonstration():
    examples = demo_examples(8, 0, "train")
    with dspy.context(lm=simulated_lm(seed=0)):
        compiled = make_optimizer("bootstrap-fewshot", number).compile(make_solver(), trainset=examples)
    expected = {example.question: example for example in examples}
    demos = [demo for demo in compiled.predictors()[0].demos if demo.get("augmented")]
    assert demos
    assert all(number(expected[demo.question], dspy.Prediction(answer=demo.answer)).score == 1 for demo in demos)
