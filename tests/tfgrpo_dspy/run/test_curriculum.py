from __future__ import annotations

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.rollouts.sampling import Query
from tfgrpo_dspy.run.curriculum import Curriculum

QUERIES = [Query(i, example) for i, example in enumerate(examples(6))]


def rolled_out(policy, **settings):
    """Positions of the examples of each step."""
    given = {"epochs": 4, "group_size": 3, "num_threads": 2, "display_progress": False, "curriculum": True, **settings}
    with dspy.context(lm=Engine(script(policy=policy)).lm()):
        learned = TrainingFreeGRPO(exact, **given).compile(dspy.Predict("question -> answer"), examples(4))
    return [[int(group.name.rpartition("e")[2]) for group in step.groups] for step in learned.detailed_results.steps]


def only_q0_differs(asked):
    return {"answer": int("q0" in asked.user and asked.draw().random() < 0.5)}


def test_examples_without_a_contrast_are_rolled_out_every_second_time():
    first, second, third, fourth = rolled_out(only_q0_differs, seed=3)
    assert first == [0, 1, 2, 3]
    assert {1, 3} & set(second) == {1, 3}
    assert 2 not in second
    assert 2 in third
    assert not {1, 3} & set(third)
    assert set(fourth) & {1, 2, 3} == {1, 3}


def test_all_are_rolled_out_in_every_epoch_unless_asked_otherwise():
    assert rolled_out(only_q0_differs, curriculum=False) == [[0, 1, 2, 3]] * 4


def test_with_batches_each_epoch_has_those_that_are_due():
    steps = rolled_out(only_q0_differs, batch_size=2, epochs=2)
    assert sorted(steps[0] + steps[1]) == [0, 1, 2, 3]
    assert all(2 not in step for step in steps[2:])


@given(st.sets(st.integers(0, 5)), st.integers(2, 9))
def test_nobody_is_left_out_for_more_than_an_epoch(uniform, epoch):
    rule = Curriculum(1e-9, frozenset(uniform))
    both = rule.due(QUERIES, epoch) + rule.due(QUERIES, epoch + 1)
    assert {query.position for query in both} == set(range(6))


@given(st.sets(st.integers(0, 5)), st.integers(2, 9))
def test_an_epoch_is_never_empty_and_keeps_the_order(uniform, epoch):
    due = [query.position for query in Curriculum(1e-9, frozenset(uniform)).due(QUERIES, epoch)]
    assert due
    assert due == sorted(due)


def test_a_curriculum_is_asked_for_by_true_or_false():
    with pytest.raises(SettingsError, match="curriculum"):
        TrainingFreeGRPO(exact, curriculum="easy")
