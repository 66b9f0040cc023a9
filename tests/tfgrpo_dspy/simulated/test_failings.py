"""The embedded LM fails as real models do, at rates that are set, and learning goes on."""

from __future__ import annotations

import dspy
import pytest

from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import Failings, SimulatedEngine, demo_examples, make_solver, simulated_lm
from tfgrpo_dspy.simulated.understanding import meaning


def learned(failings: Failings | None, update: str = "each"):
    optimizer = TrainingFreeGRPO(
        number, epochs=1, num_threads=2, max_errors=999, display_progress=False, update=update, retries=3
    )
    with dspy.context(lm=simulated_lm(0, cache=False, failings=failings)):
        return optimizer.compile(make_solver(), trainset=demo_examples(16, 0)).detailed_results


def test_without_failings_nothing_else_is_drawn():
    assert learned(None).library == learned(Failings()).library


@pytest.mark.parametrize("update", ["each", "batch"])
@pytest.mark.parametrize("failing", ["odd", "cut", "babble", "copied"])
def test_each_failing_costs_calls_and_few_lessons(failing, update):
    plain, results = learned(None, update), learned(Failings(**{failing: 0.05}), update)
    assert len(results.library) >= 0.75 * len(plain.library)
    for step in results.steps:
        assert all(fate.why for fate in step.fates if fate.became == "refused")


def test_where_groups_also_differ_by_slips_hardly_an_entry_says_nothing():
    results = learned(Failings(slip=0.15))
    assert sum(not meaning(entry.text) for entry in results.library) <= 2


def test_failings_are_kept_with_the_engine_and_are_chances():
    engine = SimulatedEngine(1, failings=Failings(odd=0.5))
    assert SimulatedEngine.load_state(engine.dump_state()).failings == Failings(odd=0.5)
    with pytest.raises(ValueError, match="cut is a chance"):
        Failings(cut=2.0)
