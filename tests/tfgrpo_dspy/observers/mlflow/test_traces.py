"""A step's trace: everything that the step did hangs below one span."""

from __future__ import annotations

from dataclasses import replace

import mlflow
import pytest
from mlflow.entities import Trace

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.observers.mlflow.store import RunStore
from tfgrpo_dspy.observers.mlflow.traces import put_trace, step_tree
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.program.recorder import Call
from tfgrpo_dspy.program.transcript import render_trajectory
from tfgrpo_dspy.records.events import RolloutFinished, StepFinished
from tfgrpo_dspy.records.rollouts import Scored

TOOLS = render_trajectory(
    [
        Call("predictor", "react", {"question": "q"}, {"next_thought": "look it up"}, None),
        Call("tool", "search", {"query": "x"}, {}, "ValueError: no network"),
    ]
)


pytestmark = pytest.mark.usefixtures("ready_store")


def follow(tracking: MLflowTracking, run: MadeRun) -> list[Trace]:
    for event in run.events():
        tracking(event)
    assert tracking.unrecorded == ()
    client = mlflow.MlflowClient(tracking_uri=tracking.store_uri)
    found = client.search_traces(locations=[tracking.experiment_id])
    return sorted(found, key=lambda trace: trace.info.tags["mlflow.traceName"])


def test_each_step_is_one_trace_in_which_all_hangs_together():
    tracking = MLflowTracking(traces=2)
    traces = follow(tracking, MadeRun(steps=2))
    assert [trace.info.tags["mlflow.traceName"] for trace in traces] == ["step 1 (simulated)", "step 2 (simulated)"]
    spans = traces[0].data.spans
    (root,) = [span for span in spans if span.parent_id is None]
    below = [span.name for span in spans if span.parent_id == root.span_id]
    assert len(below) == 3
    assert below[-1] == "update"
    assert {span.parent_id for span in spans} - {None} <= {span.span_id for span in spans}
    assert sum(span.span_type == "AGENT" for span in spans) == 10
    assert any(span.name.startswith("summary ") for span in spans)
    assert any(span.name == "extraction" for span in spans)
    assert traces[0].info.trace_metadata["mlflow.sourceRun"] == tracking.run_id
    assert any(span.name.endswith(", reward 1") for span in spans)


def test_without_traces_none_are_recorded():
    assert follow(MLflowTracking(traces=0), MadeRun(steps=1)) == []
    with pytest.raises(SettingsError, match="0 or more"):
        MLflowTracking(traces=-1)


def test_no_trace_is_recorded_while_tracing_is_off():
    mlflow.tracing.disable()
    try:
        assert follow(MLflowTracking(), MadeRun(steps=1)) == []
    finally:
        mlflow.tracing.enable()


def test_a_trace_that_is_written_again_is_there_once(monkeypatch):
    def twice(store: RunStore, **arguments: object) -> None:
        put_trace(store, **arguments)
        put_trace(store, **arguments)

    monkeypatch.setattr("tfgrpo_dspy.observers.mlflow.records.put_trace", twice)
    (trace,) = follow(MLflowTracking(), MadeRun(steps=1))
    ids = [span.span_id for span in trace.data.spans]
    assert len(ids) == len(set(ids))


def test_a_failure_to_trace_is_kept_and_said_and_the_rest_is_recorded(monkeypatch):
    def refuse(store: RunStore, **arguments: object) -> None:
        raise RuntimeError("no traces here")

    monkeypatch.setattr("tfgrpo_dspy.observers.mlflow.records.put_trace", refuse)
    tracking = MLflowTracking()
    for event in MadeRun(steps=1).events():
        tracking(event)
    (missing,) = tracking.unrecorded
    assert missing.startswith("the trace of step 1: RuntimeError: no traces here")


def test_groups_that_teach_come_first_and_turns_of_tools_are_shown():
    record = next(e.record for e in MadeRun(steps=1).events() if isinstance(e, StepFinished))
    (first, *_), (group, *others) = step_tree(record, 1, 1e-9).children, record.groups
    assert first.outputs["rewards"]
    assert len(set(first.outputs["rewards"])) > 1
    told = tuple(replace(r, trajectory=TOOLS, seconds=2.0) for r in group.rollouts if isinstance(r, Scored))
    tree = step_tree(replace(record, groups=(replace(group, rollouts=told), *others)), len(record.groups), 1e-9)
    (shown,) = [child for child in tree.children if child.name == group.name]
    react, search = shown.children[0].children
    assert (react.kind, react.outputs) == ("LLM", {"next_thought": "look it up"})
    assert (search.kind, search.failure, search.seconds) == ("TOOL", "ValueError: no network", 1.0)


def test_each_rollout_is_a_trace_of_its_own_with_its_reward_as_an_assessment_if_that_is_asked_for():
    made = MadeRun(steps=1, queries=4, group_size=2)
    tracking = MLflowTracking(traces=0, rollout_traces=True)
    found = {trace.info.tags["mlflow.traceName"]: trace for trace in follow(tracking, made)}
    groups, judged = made.records[0].groups, (made.result.initial_validation, made.records[0].validation)
    validated = {r.name for evaluation in judged for group in evaluation.groups for r in group.rollouts}
    trained = {rollout.name for group in groups for rollout in group.rollouts}
    assert trained & validated
    assert found.keys() == trained | {f"{name} of the valset" for name in validated}
    assert {trace.info.trace_metadata["mlflow.sourceRun"] for trace in found.values()} == {tracking.run_id}
    scored = groups[1].scored[0]
    trace = found[scored.name]
    [reward] = trace.info.assessments
    assert (reward.name, reward.value, reward.rationale) == ("reward", scored.reward, scored.feedback)
    assert trace.info.execution_duration == 800
    assert trace.info.token_usage == {"input_tokens": 400, "output_tokens": 120, "total_tokens": 520}
    assert trace.info.tags.items() >= {"group": "s1/e1", "step": "1", "dataset": "trainset"}.items()
    assert "What is 1 + 1?" in trace.info.request_preview
    lost = found[groups[2].rollouts[0].name]
    assert (lost.info.state, lost.info.assessments) == ("ERROR", [])


def test_a_rollout_that_an_earlier_process_made_is_not_traced_again():
    made, tracking = MadeRun(steps=1, queries=1, group_size=1), MLflowTracking(traces=0, rollout_traces=True)
    for event in made.events():
        tracking(replace(event, is_remembered=True) if isinstance(event, RolloutFinished) else event)
    client = mlflow.MlflowClient(tracking_uri=tracking.store_uri)
    assert client.search_traces(locations=[tracking.experiment_id]) == []
