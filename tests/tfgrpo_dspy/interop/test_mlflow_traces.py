"""Traces that MLflow recorded, with what was said of them, become past rollouts: on a real store."""

from __future__ import annotations

import dspy
import mlflow
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, script
from tfgrpo_dspy import DataError, TrainingFreeGRPO
from tfgrpo_dspy.interop import past_rollouts_of


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Two attempts at each of two questions, assessed by a person, and one that failed."""
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    mlflow.set_experiment("production")

    @mlflow.trace(span_type="TOOL")
    def look_up(word):
        return word[::-1]

    @mlflow.trace
    def answer(question, wrong):
        if wrong is None:
            raise ValueError("down")
        return {"answer": look_up("no" if wrong else "yes")}

    for question in ("a?", "b?"):
        for wrong in (False, True, None):
            with mlflow.start_span(name="app") as span:
                span.set_inputs({"question": question})
                try:
                    span.set_outputs(answer(question, wrong))
                except ValueError:
                    continue
            mlflow.flush_trace_async_logging()
            said = "no" if wrong else "yes"
            mlflow.log_feedback(trace_id=span.trace_id, name="correct", value=said, rationale=f"it was {said}")
            mlflow.log_expectation(trace_id=span.trace_id, name="answer", value="sey")
    mlflow.flush_trace_async_logging()
    found = mlflow.search_traces(return_type="list")
    mlflow.set_tracking_uri(None)
    return sorted(found, key=lambda trace: trace.info.timestamp_ms)


def test_traces_of_the_same_inputs_are_a_group_with_assessments_as_rewards_and_expectations_as_labels(traces):
    past = past_rollouts_of(traces)
    assert [dict(example) for example in past.examples] == [
        {"answer": "sey", "question": "a?"},
        {"answer": "sey", "question": "b?"},
    ]
    assert [[one.reward for one in group] for group in past.attempts] == [[1.0, 0.0], [1.0, 0.0]]
    first = past.attempts[0][0]
    assert first.feedback == "it was yes"
    assert first.answer == "answer: sey"
    assert "tool look_up" in first.trajectory


def test_a_library_is_learned_from_production_at_no_rollout(traces):
    past, engine = past_rollouts_of(traces, assessment="correct"), Engine(script())
    with dspy.context(lm=engine.lm()):
        optimizer = TrainingFreeGRPO(exact, display_progress=False)
        program = optimizer.compile(dspy.Predict("question -> answer"), past.examples, rollouts=past)
    assert program.experience_library
    assert program.detailed_results.steps[0].policy_usage.lm_calls == 0


def test_a_metric_may_score_what_nobody_assessed(traces):
    past = past_rollouts_of(traces, assessment="other", metric=exact)
    assert [one.reward for one in past.attempts[0]] == [1.0, 0.0]


def test_no_usable_trace_is_said(traces):
    with pytest.raises(DataError, match=r"none of 6 traces is an attempt .* feedback named 'other'"):
        past_rollouts_of(traces, assessment="other")
    with pytest.raises(DataError, match="none of 0 traces"):
        past_rollouts_of([])
