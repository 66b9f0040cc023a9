"""Why there was little to learn."""

from __future__ import annotations

import dspy
import pytest

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Group, Scored
from tfgrpo_dspy.reports.learnable import why_little_was_learnable


def step(*groups: tuple[str, ...]) -> StepRecord:
    """Of groups in which every reward is 0, by the trajectories of their rollouts."""
    made = tuple(
        Group(
            f"s1/e{i}",
            dspy.Example(question="q").with_inputs("question"),
            tuple(Scored(f"s1/e{i}/r{j}", 0.0, "", text, "7", 0, Usage(), 0.0) for j, text in enumerate(texts)),
        )
        for i, texts in enumerate(groups)
    )
    return StepRecord(1, 1, made, (), (), (), ExperienceLibrary(), (), Usage(), Usage(), 0.0)


@pytest.mark.parametrize(
    ("groups", "is_told"),
    [
        ([("a", "a", "a")] * 4, True),
        ([("a", "a"), ("b", "b"), ("c",)], True),
        ([("a", "a"), ("b", "c")], False),
        ([("a", "b")] * 4, False),
    ],
)
def test_groups_whose_rollouts_are_one_answer_are_told_with_what_to_look_for(groups, is_told):
    said = why_little_was_learnable([step(*groups)], 1e-9)
    assert ("all rollouts are one answer, word for word" in said) is is_told
    assert ("a cache in front of the endpoint" in said) is is_told
    assert "take easier ones" in said
