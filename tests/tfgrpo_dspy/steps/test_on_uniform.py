"""Groups whose rewards are all equal: passed over, rolled out again, or told what was expected."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import dspy
import pytest
from rich.console import Console

from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, script
from tfgrpo_dspy import Budget, MajorityVote, SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.observers.progress import ProgressBar
from tfgrpo_dspy.records.events import RolloutFinished
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

SIZE = 3


def learned(on_uniform: str, policy: Any, engine: Engine | None = None, **settings: Any):
    engine = engine or Engine(script(policy=policy))
    given = {"epochs": 1, "group_size": SIZE, "num_threads": 2, "display_progress": False, **settings}
    with dspy.context(lm=engine.lm()):
        optimizer = TrainingFreeGRPO(exact, on_uniform=on_uniform, **given)
        return optimizer.compile(dspy.Predict("question -> answer"), examples(4)).detailed_results.steps[0], engine


def always(answer: int):
    return lambda asked: dict.fromkeys(asked.outputs, "because") | {"answer": answer}


def right_when_hot(asked: Asked) -> Mapping[str, Any]:
    return {"answer": int(asked.temperature > 0.7)}


def test_the_papers_rule_passes_uniform_groups_over():
    record, engine = learned("skip", always(0))
    assert engine.roles == {"policy": 4 * SIZE}
    assert not record.advantages


def test_more_rollouts_are_made_of_uniform_groups_alone_and_the_mean_reward_stays_that_of_the_first():
    record, engine = learned("more-rollouts", lambda a: always(int("q0" in a.user or a.draw().random() < 0.5))(a))
    for group in record.groups:
        first = group.rewards[:SIZE]
        assert len(group.rollouts) == (SIZE if len(set(first)) > 1 else 2 * SIZE)
        assert group.fair_rewards == first
    assert {len(group.rollouts) for group in record.groups} == {SIZE, 2 * SIZE}
    assert len({(a.user, a.seed) for a in engine.of("policy")}) == len(engine.of("policy")), "each is drawn by itself"


def test_the_second_set_is_hotter_and_can_make_a_group_informative():
    record, engine = learned("raise-temperature", right_when_hot)
    assert sorted({a.temperature for a in engine.of("policy")}) == [0.7, pytest.approx(1.12)]
    assert all(group.is_informative(1e-9) for group in record.groups)
    assert len(record.advantages) == 4


def test_a_hint_shows_what_was_expected_to_the_extractor_of_a_group_that_is_all_wrong():
    record, engine = learned("hint", always(0))
    assert len(record.advantages) == 4
    asked = engine.of("extraction")[0]
    assert asked.field("expected") == "answer: 1"
    assert "Work back from the expected output" in " ".join(asked.system.split())
    assert not any("expected" in a.user for a in engine.of("policy"))


def test_a_hint_is_of_no_use_where_all_were_right():
    record, _ = learned("hint", always(1))
    assert not record.advantages


def test_an_exhausted_budget_starts_no_second_set():
    record, engine = learned("more-rollouts", always(0), budget=Budget(max_lm_calls=7))
    assert engine.calls <= 7
    assert all(len(group.rollouts) <= 2 * SIZE for group in record.groups)


def test_the_progress_display_counts_a_second_set():
    bar, seen = ProgressBar(Console(file=io.StringIO())), []
    record, _ = learned("more-rollouts", always(0), observers=[bar, seen.append])
    assert sum(isinstance(event, RolloutFinished) for event in seen) == sum(len(g.rollouts) for g in record.groups)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"on_uniform": "retry"}, "must be one of skip"),
        ({"on_uniform": "hint", "use_ground_truth": False}, "use_ground_truth"),
        ({"on_uniform": "raise-temperature", "temperature": None}, "needs a temperature"),
    ],
)
def test_what_cannot_work_is_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        TrainingFreeGRPO(exact, **settings)


def test_a_metric_of_whole_groups_cannot_have_groups_that_grow():
    with pytest.raises(SettingsError, match="whole groups"):
        TrainingFreeGRPO(MajorityVote(), on_uniform="more-rollouts")


def test_the_embedded_lm_works_back_from_what_was_expected_when_it_is_asked_to():
    made = {}
    for rule in ("skip", "hint"):
        with dspy.context(lm=simulated_lm(0, cache=False)):
            optimizer = TrainingFreeGRPO(
                number, epochs=1, group_size=2, temperature=0.2, on_uniform=rule, num_threads=2, display_progress=False
            )
            record = optimizer.compile(make_solver(), demo_examples(24, 0)).detailed_results.steps[0]
        wrong = {g.name for g in record.groups if g.rewards and max(g.rewards) == 0}
        made[rule] = [a for a in record.advantages if a.group in wrong and "do not" in " ".join(a.experiences)]
    assert not made["skip"]
    assert len(made["hint"]) >= 3
