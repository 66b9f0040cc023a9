"""What a program is for, where nobody says: asked once, told to all prompts, kept, and counted."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.records.events import ObjectiveDerived
from tfgrpo_dspy.reports.markdown import render_report
from tfgrpo_dspy.reports.story import story_of
from tfgrpo_dspy.steps import objective

DERIVED = "Answer with 0 or 1.\nTo be learned from the attempts: When it is 1."
UNSAID = "Given the fields `question`, produce the fields `answer`."


@pytest.fixture(autouse=True)
def short_runs_are_worth_it(monkeypatch):
    monkeypatch.setattr(objective, "LEAST_ROLLOUTS", 20)


def learned(engine: Engine, student: dspy.Module | None = None, **settings: Any):
    seen: list[Any] = []
    given = {"epochs": 1, "num_threads": 4, "display_progress": False, "observers": [seen.append], **settings}
    with dspy.context(lm=engine.lm()):
        program = TrainingFreeGRPO(exact, **given).compile(student or dspy.Predict("question -> answer"), examples(4))
    return program.detailed_results, [event.objective for event in seen if isinstance(event, ObjectiveDerived)]


def told(engine: Engine) -> set[str]:
    return {asked.field("objective") for asked in engine.asked if asked.role in {"summary", "extraction", "update"}}


def test_it_is_asked_once_of_the_data_and_the_metric_and_told_to_every_prompt(tmp_path):
    engine = Engine(script())
    result, shown = learned(engine, log_dir=tmp_path)
    (asked,) = engine.of("objective")
    assert asked.field("told") == UNSAID
    assert asked.field("tasks").startswith("question: q0?\nanswer: 1\n\nquestion: q1?")
    assert asked.field("scoring") == "exact: Whether the answers are equal as text."
    assert told(engine) == {DERIVED}
    assert shown == [DERIVED]
    assert result.library.learned_under.objective == DERIVED.replace("\n", " ")
    assert f"objective | {DERIVED.replace(chr(10), ' ')}" in render_report(story_of(result))
    assert result.usage.lm_calls == engine.calls
    again = Engine(script())
    assert learned(again, log_dir=tmp_path)[0].library == result.library
    assert again.calls == 0


@pytest.mark.parametrize(
    ("student", "settings", "said"),
    [
        (dspy.Predict("question -> answer"), {"objective": "Be right."}, "Be right."),
        (
            dspy.Predict("question -> answer"),
            {"learning_objective": "How."},
            f"{UNSAID}\nTo be learned from the attempts: How.",
        ),
        (dspy.Predict(dspy.Signature("question -> answer", "Say 0 or 1.")), {}, "Say 0 or 1."),
        (dspy.Predict("question -> answer"), {"group_size": 4}, UNSAID),
    ],
)
def test_nothing_is_asked_where_somebody_says_or_the_run_is_too_short_to_be_worth_it(student, settings, said):
    engine = Engine(script())
    learned(engine, student, **settings)
    assert "objective" not in engine.roles
    assert told(engine) == {said}


def test_without_a_usable_answer_the_fields_are_named_and_the_run_goes_on():
    engine = Engine(script(objective="I cannot say."))
    result, shown = learned(engine, retries=0)
    assert told(engine) == {UNSAID}
    assert (shown, len(result.steps)) == ([], 1)


def test_without_ground_truth_the_tasks_are_shown_without_their_answers():
    engine = Engine(script())
    learned(engine, use_ground_truth=False)
    assert "answer" not in engine.of("objective")[0].field("tasks")
