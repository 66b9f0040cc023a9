"""Libraries as versions of a prompt in MLflow's registry."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import ExperienceLibrary
from tfgrpo_dspy.observers.mlflow.prompts import message_of, prompt_name, template_of
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.records.events import StepFinished


@given(st.lists(st.text(max_size=40), max_size=5))
def test_a_template_has_one_line_per_experience_and_no_variable(texts):
    library = ExperienceLibrary.from_texts(texts)
    template = template_of(library)
    assert len(template.split("\n")) == max(len(library), 1)
    assert "{{" not in template
    assert "}}" not in template


def test_braces_stay_readable():
    assert template_of(ExperienceLibrary.from_texts(["Write {{{x}}}."])) == "- [G0] Write { { {x} } }."


def test_a_library_too_large_for_the_registry_says_what_is_left_out():
    library = ExperienceLibrary.from_texts(f"When {i}, " + "x" * 900 for i in range(200))
    template = template_of(library)
    assert len(template) < 100_000
    assert template.endswith("more experiences: see the run's artifacts)")


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_a_name_holds_only_what_the_registry_takes(parts):
    assert set(prompt_name(*parts)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert prompt_name(*parts)


def test_a_message_names_the_steps_and_what_they_did():
    records = [event.record for event in MadeRun(steps=3).events() if isinstance(event, StepFinished)]
    assert message_of(1, records[:1]).startswith("epoch 1, step 1: ")
    assert "added" in message_of(1, records[:1])
    assert message_of(2, records[1:]).startswith("epoch 2, steps 2 to 3: ")
    assert message_of(3, []) == "epoch 3, no step: no operation"


def test_a_run_that_is_taken_up_registers_no_version_twice():
    for run in (MadeRun(steps=2), MadeRun(steps=3)):  # killed after two steps, then gone through to its end
        tracking = MLflowTracking("algebra", run_id=_run_id())
        for event in run.events():
            tracking(event)
        assert tracking.unrecorded == ()
    client = MlflowClient(tracking_uri=tracking.store_uri)
    versions = client.search_prompt_versions("algebra-Solver")
    messages = [version.commit_message for version in sorted(versions, key=lambda version: version.version)]
    assert [message.partition(",")[0] for message in messages] == ["epoch 1", "epoch 2", "epoch 3"]
    best = client.get_prompt_version_by_alias("algebra-Solver", "best")
    linked = json.loads(client.get_run(tracking.run_id).data.tags["mlflow.linkedPrompts"])
    assert {"name": "algebra-Solver", "version": str(best.version)} in linked


def _run_id() -> str | None:
    """The run that is there; None for the first."""
    database = Path("mlruns/mlflow.db").resolve()
    if not database.exists():
        return None
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("algebra")
    return client.search_runs([experiment.experiment_id])[0].info.run_id
