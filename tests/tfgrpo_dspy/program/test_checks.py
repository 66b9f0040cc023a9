"""What is checked before any call is paid."""

from __future__ import annotations

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import ExperienceLibrary, attach, evaluate
from tfgrpo_dspy.errors import DataError, SettingsError
from tfgrpo_dspy.program.checks import (
    check_examples,
    check_lms,
    check_room,
    check_sampling,
    lm_names,
    reflection_of,
    say_temperatures,
)
from tfgrpo_dspy.rollouts.sampling import Sampling


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
    assert reflection_of(program, None) is own
    with dspy.context(lm=configured):
        assert reflection_of(program, None) is configured
        assert reflection_of(program, given) is given


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


@pytest.mark.parametrize(
    ("model", "settings", "keeps"),
    [
        ("openai/gpt-5-mini", {}, True),
        ("openai/o3", {"temperature": 1.0, "max_tokens": 16_000}, True),
        ("azure/gpt-5.1", {}, True),
        ("openrouter/openai/o4-mini", {}, True),
        ("anthropic/claude-sonnet-4", {"thinking": {"type": "enabled", "budget_tokens": 1_024}}, True),
        ("anthropic/claude-sonnet-4", {}, False),
        ("openai/gpt-5-chat-latest", {}, False),
        ("openai/gpt-4.1", {}, False),
        ("openai/my-own", {}, False),
    ],
)
def test_reasoning_models_are_rolled_out_at_the_temperature_they_take_and_that_is_told(model, settings, keeps, caplog):
    mine = dspy.LM(model, api_key="x", **settings)
    rolled = Sampling("p", 1, 3, 0.7, 0.0).lm(mine)
    assert rolled.kwargs.get("temperature") == (settings.get("temperature") if keeps else 0.7)
    with dspy.context(lm=mine):
        say_temperatures(dspy.Predict("question -> answer"), 0.7)
    assert (f"{model} takes no temperature but its own: rollouts are drawn at" in caplog.text) is keeps


@pytest.mark.parametrize(("temperature", "told"), [(0.0, "0, which its rollouts keep; at 0"), (1.2, "1.2, which its")])
def test_a_predictors_own_temperature_is_kept_and_told(temperature, told, caplog):
    engine = Engine(lambda asked: {"answer": "1"})
    with dspy.context(lm=engine.lm()):
        evaluate(dspy.Predict("question -> answer", temperature=temperature), examples(1), exact, k=2)
    assert {asked.temperature for asked in engine.asked} == {temperature}
    assert f"predictor self has a temperature of its own, {told}" in caplog.text


def test_what_is_longer_than_the_context_is_told_before_the_first_call(caplog):
    data = [dspy.Example(question=text).with_inputs("question") for text in ("short", "long " * 120_000, "short")]
    with dspy.context(lm=dspy.LM("openai/gpt-4o-mini", api_key="x")):
        check_room(dspy.Predict("question -> answer"), data, "trainset")
    said = "openai/gpt-4o-mini reads 128,000 tokens, too few for some examples: trainset[1], about 150,000"
    assert said in caplog.text


def test_a_library_longer_than_the_context_is_refused_with_both_lengths():
    large = ExperienceLibrary.from_texts(f"When {i}, " + "look " * 300 for i in range(400))
    with dspy.context(lm=dspy.LM("openai/gpt-4o-mini", api_key="x")):
        policy = attach(dspy.Predict("question -> answer"), large)
        with pytest.raises(SettingsError, match=r"reads 128,000 tokens at most.*its library alone about 15\d,\d{3}"):
            check_room(policy, examples(1), "trainset")


def test_of_a_model_that_dspy_does_not_know_nothing_is_said(caplog):
    data = [dspy.Example(question="long " * 200_000).with_inputs("question")]
    for one in (dspy.LM("openai/my-own", api_key="x"), Engine(lambda asked: {}).lm()):
        with dspy.context(lm=one):
            check_room(dspy.Predict("question -> answer"), data, "trainset")
    assert caplog.text == ""
