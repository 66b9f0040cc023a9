"""The line-up: every entry compiles the demo student through the same call, at its own settings and at a budget."""

from __future__ import annotations

import itertools

import dspy
import pytest
from dspy.teleprompt import Teleprompter

from optimizers.registry import LINE_UP, find_entry, make_optimizer
from optimizers.scaling import capped_at
from optimizers.textgrad_rival import instructed
from programs.demo_world import make_solver
from tests import line_up_page
from tests.optimizers.counting import CountingEngine, counting_lm
from tfgrpo_dspy import BudgetError, MissingExtraError, SettingsError, evaluate
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm


def optimizer(name, **settings):
    try:
        return make_optimizer(name, number, **settings)
    except MissingExtraError as missing:
        pytest.skip(str(missing))


def compiled(name, examples, calls=None):
    """The demo student compiled, with as many examples to learn from as to select on, and the LM calls it took.

    The program is None if the budget was refused.
    """
    data, student, engine = demo_examples(2 * examples, 0, "train"), make_solver(), CountingEngine()
    before = student.dump_state()
    with dspy.context(lm=counting_lm(engine, cache=calls is None)):
        try:
            program = optimizer(name, calls=calls).compile(student, trainset=data[:examples], valset=data[examples:])
        except SettingsError:
            return None, engine.calls
        used = engine.calls
        answer = program(question=demo_examples(1, 0, "test")[0].question).answer
    assert program is not student
    assert student.dump_state() == before
    assert answer
    return program, used


@pytest.mark.parametrize("name", LINE_UP)
def test_every_entry_compiles_the_demo_student(name):
    compiled(name, examples=8)


@pytest.mark.parametrize("name", LINE_UP)
def test_no_entry_takes_more_calls_than_it_is_given(name):
    for calls in (1, 10, 30, 60, 300):
        program, used = compiled(name, examples=80, calls=calls)
        assert used <= (calls if program is not None else 10), f"{used} calls of a budget of {calls}"
    assert program is not None
    assert (used >= 0.5 * 300) == LINE_UP[name].spends


class Hungry(Teleprompter):
    """Scores ever better programs, and never comes to an end."""

    def compile(self, student, trainset, **_):
        score = dspy.Evaluate(devset=trainset, metric=number, num_threads=4, display_progress=False)
        for tried in itertools.count():
            score(instructed(student, "predict", f"Answer with a number, try {tried}."))


def test_an_optimizer_of_anybody_is_stopped_at_its_budget_and_gives_the_best_that_it_scored():
    engine, examples = CountingEngine(), demo_examples(8, 0, "train")
    hungry = capped_at(lambda *_: Hungry(), number, 0, 30)
    with dspy.context(lm=counting_lm(engine, cache=False)):
        program = hungry.compile(make_solver(), examples)
        assert engine.calls == 30
        assert "try" in program.predictors()[0].signature.instructions
        evaluate(program, examples, number, k=5, display_progress=False)
    assert engine.calls == 30 + 40
    with dspy.context(lm=simulated_lm(seed=0)), pytest.raises(BudgetError, match="5 LM calls were spent before Hungry"):
        capped_at(lambda *_: Hungry(), number, 0, 5).compile(make_solver(), examples)


def test_what_spends_more_at_inference_says_so():
    at_inference = {name for name, entry in LINE_UP.items() if entry.at_inference}
    sampling = {"best-of-n", "self-consistency", "dspy-best-of-n", "dspy-refine"}
    assert at_inference == {"reflexion", "self-refine", *sampling}


def test_every_entry_says_what_a_budget_sets():
    assert all("Budget: " in entry.description for entry in LINE_UP.values())
    assert {entry.needs_extra for entry in LINE_UP.values()} == {None, "optimizers", "retrieval"}


def test_the_page_of_the_line_up_is_what_the_code_says():
    assert line_up_page.PAGE.read_text(encoding="utf-8") == line_up_page.page()


def test_names_can_carry_a_group_size_or_be_a_chain():
    assert find_entry("tfgrpo-group-size-4").make.keywords == {"group_size": 4}
    chain = find_entry("tfgrpo-group-size-4 -> self-refine")
    assert (chain.name, chain.family, chain.at_inference) == ("tfgrpo-group-size-4->self-refine", "chain", True)
    assert find_entry("tfgrpo->miprov2").needs_extra == "optimizers"


def test_an_unknown_name_lists_the_line_up():
    for name in ("tfgpro", "tfgrpo->tfgpro"):
        with pytest.raises(SettingsError, match="there is no optimizer 'tfgpro'; the line-up is: none, tfgrpo, "):
            make_optimizer(name, number)


def test_a_budget_that_covers_no_group_is_refused_before_it_is_spent():
    examples = demo_examples(8, 0, "train")
    with dspy.context(lm=simulated_lm(seed=0)), pytest.raises(SettingsError, match="do not cover a single group of 5"):
        make_optimizer("tfgrpo", number, calls=10).compile(make_solver(), trainset=examples)


def test_bootstrap_takes_only_what_the_metric_accepts_for_a_demonstration():
    examples = demo_examples(8, 0, "train")
    with dspy.context(lm=simulated_lm(seed=0)):
        program = make_optimizer("bootstrap-fewshot", number).compile(make_solver(), trainset=examples)
    expected = {example.question: example for example in examples}
    demos = [demo for demo in program.predictors()[0].demos if demo.get("augmented")]
    assert demos
    assert all(number(expected[demo.question], dspy.Prediction(answer=demo.answer)).score == 1 for demo in demos)
