"""Dropout in a run: each rollout reads a random part of the library, and what that measures is shown and acted on."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import cloudpickle
import dspy
import pytest

from benchmarks.credit import Budget, auc, measure
from benchmarks.planted import kinds_of, plant
from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, script
from tfgrpo_dspy import ExperienceLibrary, MajorityVote, SettingsError, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.credit.prune import harmful
from tfgrpo_dspy.history.commits import Note
from tfgrpo_dspy.history.file import dump_history, parse_history
from tfgrpo_dspy.history.history import measured_effects, rollback
from tfgrpo_dspy.history.of_run import history_of
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.library.operations import Modify
from tfgrpo_dspy.observers.mlflow.metrics import step_metrics
from tfgrpo_dspy.observers.mlflow.tables import effects_table, operations_table
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.program.instructions import withhold
from tfgrpo_dspy.rollouts.sampling import Sampling
from tfgrpo_dspy.rollouts.task import RolloutTask

QA = "question -> answer"
LIBRARY = ExperienceLibrary.from_texts(
    ["When adding, guess.", "When adding, carry the ten.", "When in doubt, draw a picture.", "When done, check."]
)
IDS = {e.id for e in LIBRARY}


def read_in(text: str) -> set[str]:
    return set(re.findall(r"^\s*\[(G\d+)\] ", text, re.MULTILINE))


def echo(asked: Asked):
    """Answers with the ids that it read."""
    return dict.fromkeys(asked.outputs, "because") | {"answer": ", ".join(sorted(read_in(asked.system)))}


def misled(asked: Asked):
    """Right unless it reads G0."""
    return dict.fromkeys(asked.outputs, "because") | {"answer": "2" if "G0" in read_in(asked.system) else "1"}


def compiled(engine: Engine, *, count=4, valset=None, metric=exact, **more):
    given = {"epochs": 1, "group_size": 3, "num_threads": 1, "display_progress": False, "library": LIBRARY, **more}
    with dspy.context(lm=engine.lm()):
        return TrainingFreeGRPO(metric, **given).compile(dspy.ChainOfThought(QA), examples(count), valset=valset)


def rollouts_of(program):
    return [r for step in program.detailed_results.steps for group in step.groups for r in group.rollouts]


# --- what a rollout reads ---


def test_each_rollout_reads_all_but_what_it_says_was_withheld():
    rollouts = rollouts_of(compiled(Engine(script(policy=echo)), dropout=0.5, count=8))
    read = {r.name: set(re.findall(r"G\d+", r.answer)) for r in rollouts}
    assert all(read[r.name] == IDS - set(r.withheld) for r in rollouts)
    assert len({r.withheld for r in rollouts}) > 5, "each by itself"
    shares = Counter(id for r in rollouts for id in r.withheld)
    assert all(0.2 < shares[id] / len(rollouts) < 0.8 for id in IDS)


def test_who_reads_what_is_drawn_from_the_seed_alone():
    drawn = [
        [r.withheld for r in rollouts_of(compiled(Engine(script(policy=echo)), dropout=0.5, num_threads=t, seed=s))]
        for t, s in ((1, 0), (4, 0), (1, 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_without_dropout_everything_is_read_and_nothing_measured():
    engine = Engine(script(policy=echo))
    program = compiled(engine)
    assert {r.withheld for r in rollouts_of(program)} == {()}
    assert program.detailed_results.effects == program.detailed_results.steps[0].effects == ()
    assert not any("effects" in asked.system for asked in engine.of("update"))
    assert not any("random part" in asked.system for asked in engine.asked)


def test_validation_and_evaluation_read_everything():
    engine = Engine(script(policy=echo))
    program = compiled(engine, dropout=0.9, valset=examples(3))
    judged = program.detailed_results.initial_validation
    assert {r.answer for g in judged.groups for r in g.scored} == {"reasoning: because\nanswer: G0, G1, G2, G3"}
    with dspy.context(lm=engine.lm()):
        made = evaluate(program, examples(2), exact, k=2, num_threads=1, display_progress=False)
    read = {e.id for e in program.experience_library}
    assert all(set(re.findall(r"G\d+", r.answer)) == read for g in made.groups for r in g.scored)


def test_a_group_metric_gets_what_was_withheld_too():
    rollouts = rollouts_of(compiled(Engine(script(policy=echo)), dropout=0.5, metric=MajorityVote()))
    assert all(set(re.findall(r"G\d+", r.answer)) == IDS - set(r.withheld) for r in rollouts)


def test_a_run_that_is_taken_up_withholds_and_measures_the_same(tmp_path):
    first = compiled(Engine(script(policy=misled)), dropout=0.5, epochs=2, log_dir=tmp_path / "log")
    engine = Engine(script(policy=misled))
    again = compiled(engine, dropout=0.5, epochs=2, log_dir=tmp_path / "log")
    assert engine.calls == 0
    assert [r.withheld for r in rollouts_of(again)] == [r.withheld for r in rollouts_of(first)]
    assert again.detailed_results.effects == first.detailed_results.effects
    assert dump_library(again.experience_library) == dump_library(first.experience_library)


def test_another_process_withholds_the_same():
    task = RolloutTask.of(
        attach(dspy.Predict(QA), LIBRARY), exact, Sampling("training seed 0", 1, 3, 0.7, 0.0, dropout=0.5)
    )
    elsewhere = cloudpickle.loads(cloudpickle.dumps(task))
    example = examples(1)[0]
    with dspy.context(lm=Engine(script(policy=echo)).lm()):
        made = [[each(example, f"s1/e0/r{i}") for i in range(5)] for each in (task, elsewhere)]
    assert [(r.withheld, r.answer) for r in made[0]] == [(r.withheld, r.answer) for r in made[1]]


def test_withholding_leaves_the_program_and_the_other_predictors_alone():
    library = replace(LIBRARY, experiences=tuple(replace(e, scope="self") if e.id == "G1" else e for e in LIBRARY))
    program = attach(dspy.Predict(QA), library)
    before = program.signature.instructions
    assert read_in(withhold(program, {"G1", "G3"}).signature.instructions) == {"G0", "G2"}
    assert read_in(withhold(program, IDS).signature.instructions) == set()
    assert program.signature.instructions == before
    assert program.experience_library == library


# --- what is made of it ---


@pytest.mark.parametrize("valset", [None, examples(3)])
def test_the_history_says_what_the_run_says_and_survives_its_file(valset):
    program = compiled(Engine(script(policy=misled)), dropout=0.5, epochs=2, count=8, valset=valset)
    result = program.detailed_results
    history = parse_history(dump_history(history_of(result)))
    found = measured_effects(history)
    assert found
    assert list(found) == [effect.id for effect in result.effects]
    assert all(found[e.id].value == pytest.approx(e.value, abs=1e-6) for e in result.effects)
    changed = history.library.apply([Modify(id="G1", text="When adding, add.")], author="person").library
    assert "G1" not in measured_effects(history.record(changed, Note(author="person"))), "it is of another text"


def test_the_updater_is_shown_what_was_measured_and_the_extractor_that_attempts_read_parts():
    engine = Engine(script(policy=misled))
    program = compiled(engine, dropout=0.5, count=8)
    shown = engine.of("update")[0].field("effects")
    effects = program.detailed_results.steps[0].effects
    assert shown.splitlines() == [f"[{e.id}] {e.to_text()}" for e in effects]
    assert "random part" in engine.of("extraction")[0].system


def test_what_harms_is_pruned_with_a_commit_that_can_be_rolled_back():
    program = compiled(Engine(script(policy=misled)), dropout=0.3, prune="harmful", count=8, group_size=5, epochs=3)
    result = program.detailed_results
    pruned = [(step.step, change.id) for step in result.steps for change in step.pruned]
    assert [id for _, id in pruned] == ["G0"]
    assert "G0" not in program.experience_library
    assert IDS - {"G0"} <= {e.id for e in program.experience_library}
    history = history_of(result)
    at = pruned[0][0]
    assert history.at(at) == result.steps[at - 1].library
    (commit,) = [commit for commit in history if "G0" in {c.id for c in commit.changes if c.kind == "delete"}]
    assert "measured effect -" in next(c.reason for c in commit.changes if c.id == "G0")
    assert "G0" in rollback(history, commit.parent).library


def test_a_pinned_experience_is_measured_and_never_pruned():
    engine = Engine(script(policy=misled))
    program = compiled(engine, library=LIBRARY.pin("G0"), dropout=0.3, prune="harmful", count=8, group_size=5, epochs=3)
    (effect,) = [e for e in program.detailed_results.effects if e.id == "G0"]
    assert effect.high < 0
    assert "G0" in program.experience_library


def test_records_hold_what_was_measured_and_pruned():
    program = compiled(Engine(script(policy=misled)), dropout=0.3, prune="harmful", count=8, group_size=5, epochs=1)
    record = program.detailed_results.steps[0]
    table = effects_table(record.effects, str)
    assert table["id"] == [e.id for e in record.effects]
    assert table["low"][0] <= table["effect"][0] <= table["high"][0] < 0
    operations = operations_table(record, str)
    assert "pruned" in operations["outcome"]
    assert operations["id"][operations["outcome"].index("pruned")] == "G0"
    settings = TrainingFreeGRPO(exact).settings
    metrics = step_metrics(record, settings)
    assert metrics["effects/pruned"] == metrics["effects/harmful"] == 1
    assert metrics["effects/measured"] == len(record.effects)
    assert not any(name.startswith("effects/") for name in step_metrics(replace(record, effects=()), settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dropout": 1}, ">= 0 and < 1"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": True}, "dropout"),
        ({"prune": "harmful"}, "set `dropout` above 0"),
        ({"prune": "all", "dropout": 0.3}, '`"harmful"` or `None`'),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        TrainingFreeGRPO(exact, **settings)


# --- whether it is right, on the embedded LM (`benchmarks.credit` does it for ten seeds) ---


def test_planted_experiences_are_told_apart_and_only_harmful_ones_pruned():
    library = plant(20, 20, 10, seed=0)
    assert Counter(kinds_of(library).values()) == {"useful": 20, "useless": 20, "harmful": 10}
    measured = measure(library, 0, 0.3, Budget())
    values = {e.id: e.value for e in measured.effects}
    assert auc(values, measured.kinds, "useful") >= 0.9
    assert auc(values, measured.kinds, "harmful") >= 0.9
    gone = Counter(measured.kinds[e.id] for e in harmful(measured.effects))
    assert gone["harmful"] >= 8
    assert gone["useful"] <= 2
