"""What is checked before any call is paid."""

from __future__ import annotations

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, examples, script
from tfgrpo_dspy.errors import DataError, SettingsError
from tfgrpo_dspy.program.checks import check_examples, check_lms, check_sampling, lm_names


def lm(name: str = "scripted/model") -> dspy.LM:
    return Engine(script()).lm(name)


def test_examples_are_returned_as_a_tuple():
    given = examples(3)
    assert check_examples(given, "trainset") == tuple(given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "the devset is empty"),
        ((), "the devset is empty"),
        ([*examples(1), {"question": "q"}], r"devset\[1\] is a dict; make examples of its rows"),
        ([dspy.Example(question="q")], r"devset\[0\] has no inputs; call \.with_inputs"),
        ([dspy.Example(question="q").with_inputs("query")], r"devset\[0\] has no inputs"),
    ],
)
def test_examples_that_cannot_be_used_are_named(given, sentence):
    with pytest.raises(DataError, match=sentence):
        check_examples(given, "devset")


def test_the_lm_for_reflection_is_the_given_one_else_the_configured_else_the_programs_own():
    program, given, configured, own = dspy.Predict("a -> b"), lm(), lm(), lm()
    program.lm = own
    assert check_lms(program) is own
    with dspy.context(lm=configured):
        assert check_lms(program) is configured
        assert check_lms(program, given) is given


def test_a_predictor_without_any_lm_is_refused_even_if_reflection_has_one():
    with pytest.raises(SettingsError, match="no LM is configured"):
        check_lms(dspy.Predict("a -> b"), lm())


@pytest.mark.parametrize("where", ["reflection", "configured", "own"])
def test_an_lm_that_is_only_its_name_is_refused_wherever_it_stands(where):
    program = dspy.Predict("a -> b")
    program.lm = "openai/x" if where == "own" else None
    configured = "openai/x" if where == "configured" else lm()
    with dspy.context(lm=configured), pytest.raises(SettingsError, match=r"write dspy\.LM\('openai/x'\)"):
        check_lms(program, "openai/x" if where == "reflection" else lm())


def test_names_are_by_role_and_several_policy_models_are_all_named():
    class Two(dspy.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = dspy.Predict("a -> b"), dspy.Predict("b -> c")
            self.second.lm = lm("scripted/b")

    with dspy.context(lm=lm("scripted/a")):
        assert lm_names(Two(), lm("scripted/c")) == {"policy": "scripted/a, scripted/b", "reflection": "scripted/c"}


def test_an_lm_that_samples_nothing_is_refused_when_its_own_temperature_is_kept():
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=dspy.LM("openai/x", api_key="x", temperature=0)):
        check_sampling(program, 0.7)
        with pytest.raises(SettingsError, match="hardly differ"):
            check_sampling(program, None)
