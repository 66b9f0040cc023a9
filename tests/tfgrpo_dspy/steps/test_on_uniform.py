"""Groups whose rewards are all equal: passed over, or told what was expected."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.reflection import COMMONPLACES
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


def test_the_papers_rule_passes_uniform_groups_over():
    record, engine = learned("skip", always(0))
    assert engine.roles == {"policy": 4 * SIZE}
    assert not record.advantages


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"on_uniform": "retry"}, 'must be `"skip"` or `"hint"`'),
        ({"on_uniform": "hint", "use_ground_truth": False}, "use_ground_truth"),
    ],
)
def test_what_cannot_work_is_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        TrainingFreeGRPO(exact, **settings)


def test_an_lm_that_learns_from_answers_makes_use_of_a_hint_and_one_that_learns_from_contrasts_does_not():
    made = {}
    for learns, rule in (("both", "skip"), ("both", "hint"), ("contrast", "hint")):
        with dspy.context(lm=simulated_lm(0, cache=False, learns=learns)):
            optimizer = TrainingFreeGRPO(
                number, epochs=1, group_size=2, temperature=0.2, on_uniform=rule, num_threads=2, display_progress=False
            )
            record = optimizer.compile(make_solver(), demo_examples(24, 0)).detailed_results.steps[0]
        wrong = {g.name for g in record.groups if g.rewards and max(g.rewards) == 0}
        made[learns, rule] = [
            a for a in record.advantages if a.group in wrong and not {*a.experiences} <= {*COMMONPLACES}
        ]
    assert not made["both", "skip"]
    assert not made["contrast", "hint"]
    assert len(made["both", "hint"]) >= 2
