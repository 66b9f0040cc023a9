"""MLflow answers the question that a run was made for: how its program does on held-out questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.made_events import MadeRun
from tests.tfgrpo_dspy.observers.mlflow.test_tracking import artifact, client_of, follow, paths, run_of, table
from tfgrpo_dspy import MLflowTracking, compare, evaluate
from tfgrpo_dspy.observers.metrics import final_metrics
from tfgrpo_dspy.records.evaluation import Gain
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.statistics.estimates import Difference

HELDOUT = {"heldout/bare", "heldout/bare_low", "heldout/learned", "heldout/learned_high", "heldout/gain", "heldout/p"}


@pytest.fixture
def recorded(ready_store):
    run = MadeRun()
    tracking = follow(MLflowTracking("algebra"), run)
    gain = compare(run.evaluation(0), run.evaluation(2))
    return tracking, run, {"bare": gain.baseline, "learned": gain.candidate}, gain


def test_the_scores_of_both_programs_join_the_run_that_is_over(recorded):
    tracking, _, evaluations, gain = recorded
    assert tracking.record_heldout(evaluations, gain)
    found = run_of(tracking)
    assert found.info.status == "FINISHED"
    numbers = found.data.metrics
    assert set(numbers) >= HELDOUT
    assert numbers["brief/heldout_gain"] == pytest.approx(gain.difference.value)
    assert numbers["heldout/learned"] == pytest.approx(gain.candidate.mean.value)
    rows = table(tracking, "tables/heldout.json")
    assert len(rows) == len(gain.baseline.groups)
    assert rows[0]["question"].startswith("question: What is 0")
    assert "figures/heldout.png" in paths(tracking, "figures")
    for told in ("summary.md", "run.html"):
        assert "Gain on held-out questions" in artifact(tracking, told)


def test_a_later_process_adds_scores_to_the_run_that_made_the_program(recorded):
    tracking, _, evaluations, _ = recorded
    later = MLflowTracking(tracking_uri=tracking.store_uri, run_id=tracking.run_id)
    assert later.record_heldout({"learned": evaluations["learned"]})
    numbers = run_of(tracking).data
    assert "heldout/learned" in numbers.metrics
    assert "heldout/gain" not in numbers.metrics
    assert numbers.tags["tfgrpo.state"] == "done"


def test_scores_that_could_not_be_recorded_are_said_and_kept(recorded, monkeypatch):
    tracking, _, evaluations, gain = recorded
    store = tracking._store
    with monkeypatch.context() as broken:
        broken.setattr(type(store), "put_metrics", lambda *_, **__: 1 / 0)
        assert not tracking.record_heldout(evaluations, gain)
    assert any(line.startswith("the held-out scores: ZeroDivisionError") for line in tracking.unrecorded)
    assert tracking.retry()
    assert set(run_of(tracking).data.metrics) >= HELDOUT


def test_an_evaluation_is_a_run_of_its_own_where_no_compile_made_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracking = MLflowTracking("algebra")
    with dspy.context(lm=simulated_lm(seed=0)):
        made = evaluate(make_solver(), demo_examples(3, 0), number, k=2, display_progress=False, tracking=tracking)
    found = run_of(tracking)
    assert found.info.status == "FINISHED"
    assert found.data.tags["tfgrpo.state"] == "done"
    assert found.data.metrics["heldout/bare"] == pytest.approx(made.mean.value)
    assert len(table(tracking, "tables/heldout.json")) == 3


def test_the_gain_that_a_run_required_has_the_same_names():
    run = MadeRun()
    gain = Gain(Difference(0.2, 0.1, 0.3, 0.001, 30), "")
    numbers = final_metrics(replace(run.result, gain=gain))
    assert (numbers["heldout/gain"], numbers["heldout/p"], numbers["heldout/n"]) == (0.2, 0.001, 30)


def test_a_runs_name_says_what_it_is(recorded):
    tracking, *_ = recorded
    name = run_of(tracking).info.run_name
    assert name == "seed 0, G=5, 3 epochs: 8 examples, Solver, frozen"


def test_versions_of_the_prompt_show_run_seed_and_score_and_the_best_one_is_so_by_score(recorded):
    first, run, *_ = recorded
    client = client_of(first)
    name = next(iter(client.search_prompts())).name
    returned = client.get_prompt_version_by_alias(name, "best")
    assert returned.template.startswith("- [G0] ")
    assert returned.tags["run"] == run_of(first).info.run_name
    assert returned.tags["seed"] == "0"
    assert float(returned.tags["score"]) == pytest.approx(run.records[-1].validation.mean.value, abs=1e-4)
    poorer = MadeRun(steps=1, seed=1)
    assert poorer.records[0].validation.mean.value < run.records[-1].validation.mean.value
    follow(MLflowTracking("algebra"), poorer)
    assert client.get_prompt_version_by_alias(name, "best").version == returned.version


def test_each_experience_has_its_provenance_on_one_page(recorded):
    tracking, run, *_ = recorded
    page = artifact(tracking, "library/provenance.md")
    for experience in run.result.library:
        assert f"## {experience.id}\n" in page
    assert "added by the updater, step 1, commit " in page
    assert "rewards in s1/e" in page
    assert Path("mlruns").is_dir()
