"""Composite rewards: what they weigh, and that each part stays on record."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.scripted import Engine, examples
from tfgrpo_dspy import MajorityVote, MetricError, SettingsError, evaluate
from tfgrpo_dspy.records.evaluation import Evaluation
from tfgrpo_dspy.rewards import Brevity, Format, ToolCalls, Weighted, count_tool_calls, exact

EXAMPLE = dspy.Example(question="?", answer="4").with_inputs("question")


def said(answer="4", **more) -> dspy.Prediction:
    return dspy.Prediction(answer=answer, **more)


def always(value):
    return lambda example, prediction, trace=None: value


# --- weighted ---


def test_the_score_is_the_weighted_mean_and_the_parts_are_told():
    reward = Weighted({"accuracy": (exact, 3.0), "brevity": (Brevity(words=1, limit=3), 1)})
    found = reward(EXAMPLE, said("four or so"))
    assert (found.score, found.parts) == (0.0, {"accuracy": 0.0, "brevity": 0.0})
    found = reward(EXAMPLE, said("4"))
    assert (found.score, found.parts) == (1.0, {"accuracy": 1.0, "brevity": 1.0})
    assert found.feedback == "accuracy 1: Correct.\nbrevity 1"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 100)), min_size=1, max_size=5))
def test_a_mean_of_parts_within_0_and_1_is_within_their_range(parts):
    reward = Weighted({f"p{i}": (always(value), weight) for i, (value, weight) in enumerate(parts)})
    values = [value for value, _ in parts]
    assert min(values) - 1e-9 <= reward(EXAMPLE, said()).score <= max(values) + 1e-9


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "needs parts"),
        ({"a=b": (exact, 1)}, "name is made of"),
        ({"a": (exact, 0)}, "weight of 'a' must be > 0"),
        ({"a": (exact, float("nan"))}, "weight of 'a'"),
        ({"a": (MajorityVote(), 1)}, "scores whole groups"),
        ({"a": (lambda: 1, 1)}, "metric must take"),
    ],
)
def test_parts_that_cannot_be_weighed_are_refused(parts, message):
    with pytest.raises(SettingsError, match=message):
        Weighted(parts)


def test_a_part_that_fails_is_named_and_the_cause_kept():
    def broken(example, prediction, trace=None):
        raise ConnectionError("judge is away")

    with pytest.raises(MetricError, match="part 'judge': the metric raised ConnectionError") as caught:
        Weighted({"accuracy": (exact, 1), "judge": (broken, 1)})(EXAMPLE, said())
    assert isinstance(caught.value.__cause__.__cause__, ConnectionError)


def test_every_rollout_keeps_the_parts_of_its_reward():
    reward = Weighted({"accuracy": (exact, 1.0), "format": (Format(pattern=r"^\d$"), 1.0)})
    with dspy.context(lm=Engine(lambda asked: {"answer": "7"}).lm()):
        found: Evaluation = evaluate(dspy.Predict("question -> answer"), examples(2), reward, k=2, seed=0)
    assert [r.parts for g in found.groups for r in g.scored] == [(("accuracy", 0.0), ("format", 1.0))] * 4
    assert found.mean.value == 0.5


# --- the parts ---


@pytest.mark.parametrize(("words", "score"), [(0, 1.0), (2, 1.0), (3, 0.5), (4, 0.0), (9, 0.0)])
def test_brevity_falls_in_a_line_from_what_is_free_to_the_limit(words, score):
    found = Brevity(words=2, limit=4)(EXAMPLE, said(" ".join(["word"] * words)))
    assert found.score == score
    assert (found.feedback == "") == (words <= 2)


def test_brevity_counts_all_texts_or_the_outputs_named():
    prediction = said("one two", reasoning="three four", steps=["no text"])
    assert Brevity(words=0, limit=8)(EXAMPLE, prediction).score == 0.5
    assert Brevity(words=0, limit=8, fields=("answer",))(EXAMPLE, prediction).score == 0.75


def test_tool_calls_of_both_of_dspy_s_agents_are_counted():
    trajectory = {"tool_name_0": "search", "tool_args_0": {}, "tool_name_1": "visit", "tool_name_2": "finish"}
    calls = dspy.ToolCalls.from_dict_list([{"name": n, "args": {}} for n in ("search", "search", "submit")])
    history = dspy.History(messages=[{"question": "?", "tool_calls": calls}])
    assert count_tool_calls(said(trajectory=trajectory)) == 2
    assert count_tool_calls(said(history=history)) == 2
    assert count_tool_calls(said()) == 0
    assert ToolCalls(free=1, limit=3)(EXAMPLE, said(trajectory=trajectory)).score == 0.5
    assert ToolCalls(free=2, limit=3)(EXAMPLE, said(trajectory=trajectory)).score == 1.0


def test_a_format_is_found_or_not():
    boxed = Format(pattern=r"\\boxed\{", what="a box")
    assert boxed(EXAMPLE, said("\\boxed{4}")).score == 1.0
    assert (boxed(EXAMPLE, said("4")).score, boxed(EXAMPLE, said("4")).feedback) == (0.0, "`answer` is not in a box.")
    with pytest.raises(MetricError, match="no output 'final'"):
        Format(pattern="x", output="final")(EXAMPLE, said())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Brevity(words=5, limit=5),
        lambda: Brevity(words=-1, limit=5),
        lambda: ToolCalls(free=2, limit=1),
        lambda: Format(pattern="("),
    ],
)
def test_parts_that_make_no_sense_are_refused(make):
    with pytest.raises(SettingsError):
        make()
