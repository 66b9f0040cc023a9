"""What a run gives to Python can be looked at, taken as data, and carried about without its training examples."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import cloudpickle
import dspy
import pytest

from tfgrpo_dspy import ExperienceLibrary, Settings, TrainingFreeGRPO, compare, diff, evaluate, history_of
from tfgrpo_dspy.rewards import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

LABEL = "GOLD-LABEL-7"


@pytest.fixture(scope="module")
def made():
    """A run on 30 examples, one of which has a label that can be found again, and two evaluations."""
    examples = [*demo_examples(29, seed=0), dspy.Example(question="what?", answer=LABEL).with_inputs("question")]
    program = dspy.ChainOfThought("question -> answer")
    with dspy.context(lm=simulated_lm(seed=0)):
        optimizer = TrainingFreeGRPO(number, epochs=2, group_size=3, num_threads=4)
        better = optimizer.compile(program, examples, valset=demo_examples(4, 0, "test"))
        held_out = demo_examples(30, 0, "test")
        bare, learned = (evaluate(each, held_out, number, k=2) for each in (program, better))
    return optimizer, better, compare(bare, learned)


def parts_of(value: object) -> Iterator[object]:
    """A value of ours, and all that it is made of."""
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in fields(value):
            yield from parts_of(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from parts_of(one)


def test_every_value_of_a_run_shows_itself_in_a_screenful(made):
    optimizer, better, comparison = made
    result = better.detailed_results
    history = history_of(result)
    whole = [optimizer, result, comparison, history, diff(ExperienceLibrary(), result.library), optimizer.settings]
    for value in [*whole, *parts_of(tuple(whole[1:]))]:
        for text in (repr(value), str(value)):
            assert len(text) < 4000, type(value)
            assert len(text.splitlines()) < 60, type(value)


@pytest.mark.parametrize(
    ("of", "answers"),
    [
        (lambda o, p, c: o, ["TrainingFreeGRPO(metric=number, epochs=2, group_size=3, num_threads=4)"]),
        (lambda o, p, c: Settings(epochs=1), ["Settings(epochs=1)"]),
        (lambda o, p, c: p.experience_library, ["ExperienceLibrary: ", " experiences, about ", "\n  G0 ", " When "]),
        (
            lambda o, p, c: p.detailed_results,
            ["CompileResult: ", " after 2 steps", "\n  step 1: reward 0.", "groups informative", "LM calls"],
        ),
        (lambda o, p, c: p.detailed_results.steps[0], ["StepRecord 1: reward 0."]),
        (lambda o, p, c: p.detailed_results.steps[0].groups[0], ["Group s1/e0: rewards "]),
        (lambda o, p, c: c, ["Comparison: +0.", ", p", ": better", "baseline: 0.", "questions"]),
        (lambda o, p, c: c.candidate, ["Evaluation: mean 0.", "over 30 questions x 2 rollouts"]),
        (lambda o, p, c: history_of(p.detailed_results), ["History: 2 commits", "updater"]),
    ],
)
def test_the_obvious_question_is_answered(made, of, answers):
    shown = repr(of(*made))
    assert [answer for answer in answers if answer not in shown] == []


def test_a_notebook_gets_a_table(made):
    _, better, comparison = made
    assert "<td" in better.experience_library._repr_html_()
    assert comparison._repr_html_().startswith('<div class="tfgrpo"><b>Comparison: ')


def test_all_of_it_is_there_as_data(made):
    _, better, comparison = made
    result = better.detailed_results
    told = json.loads(json.dumps(result.to_dict()))
    assert told["library"]["experiences"][0]["text"] == result.library.experiences[0].text
    assert told["steps"][0]["groups"][-1]["example"]["answer"] == LABEL
    assert [len(v.to_dataframe()) for v in (result, result.library, comparison.candidate, comparison)] == [
        2,
        len(result.library),
        60,
        30,
    ]
    assert set(comparison.to_dataframe().columns) == {"question", "answer", "baseline", "candidate", "difference"}


def test_a_pickled_program_holds_no_training_label_and_says_what_it_left_out(made):
    _, better, _ = made
    for dumps in (pickle.dumps, cloudpickle.dumps):
        pickled = dumps(better.detailed_results)
        assert LABEL.encode() not in pickled
    again = cloudpickle.loads(cloudpickle.dumps(better))
    assert LABEL.encode() not in cloudpickle.dumps(again)
    assert again.detailed_results.library == better.experience_library
    assert "training examples" in again.detailed_results.unrecorded[0]


def test_a_copied_program_keeps_all_of_its_results(made):
    _, better, _ = made
    for copied in (better.deepcopy(), copy.deepcopy(better)):
        assert copied.detailed_results is better.detailed_results
