from __future__ import annotations

from contextvars import copy_context

import cloudpickle

from programs.math_solver import react
from programs.rollout_local import RolloutLocal
from tfgrpo_dspy.runtime.pickling import own_code_by_value


def test_a_value_is_seen_inside_and_by_what_is_called_there_only():
    local = RolloutLocal[int]("n")
    with local.holding(1):
        assert copy_context().run(local.get) == 1
    assert local.get() is None


def test_an_inner_value_gives_way_to_the_outer_one():
    local = RolloutLocal[int]("n")
    with local.holding(1):
        with local.holding(2):
            assert local.get() == 2
        assert local.get() == 1


def test_it_is_pickled_empty():
    local = RolloutLocal[int]("n")
    with local.holding(1):
        assert cloudpickle.loads(cloudpickle.dumps(local)).get() is None


def test_an_agent_is_pickled_with_the_code_it_is_from():
    agent = react(unsafe_local_code=True)
    with own_code_by_value(agent):
        packed = cloudpickle.dumps(agent)
    assert list(cloudpickle.loads(packed).tools) == ["run_python", "finish"]
