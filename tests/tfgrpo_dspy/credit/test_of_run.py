"""Trials in a run: inside each group some rollouts read an entry and some do not; what that shows is acted on."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import cloudpickle
import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, script
from tfgrpo_dspy import BM25, ExperienceLibrary, MajorityVote, SettingsError, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.credit.likeness import Likeness
from tfgrpo_dspy.credit.of_run import Trials, is_settled
from tfgrpo_dspy.credit.rulings import verdicts_on
from tfgrpo_dspy.history.commits import Note
from tfgrpo_dspy.history.file import dump_history, parse_history
from tfgrpo_dspy.history.history import measured_effects, rollback
from tfgrpo_dspy.history.of_run import history_of
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.library.operations import Modify
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.metrics import step_metrics
from tfgrpo_dspy.observers.mlflow.tables import effects_table, operations_table
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.program.instructions import withhold
from tfgrpo_dspy.program.retrieving import Retrieving
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.rollouts import Group, Scored
from tfgrpo_dspy.rollouts.sampling import Sampling
from tfgrpo_dspy.rollouts.task import RolloutTask

QA = "question -> answer"
LIBRARY = ExperienceLibrary.from_texts(
    ["When adding, guess.", "When adding, carry the ten.", "When in doubt, draw a picture.", "When done, check."]
)
IDS = {e.id for e in LIBRARY}
ALL = dict.fromkeys(sorted(IDS))


def read_in(text: str) -> set[str]:
    return set(re.findall(r"^\s*\[(G\d+)\] ", text, re.MULTILINE))


def echo(asked: Asked):
    """Answers with the ids that it read."""
    return dict.fromkeys(asked.outputs, "because") | {"answer": ", ".join(sorted(read_in(asked.system)))}


def misled(asked: Asked):
    """Right unless it reads G0."""
    return dict.fromkeys(asked.outputs, "because") | {"answer": "2" if "G0" in read_in(asked.system) else "1"}


def guided(asked: Asked):
    """Right if it reads G1."""
    return dict.fromkeys(asked.outputs, "because") | {"answer": "1" if "G1" in read_in(asked.system) else "2"}


def compiled(engine: Engine, *, count=4, valset=None, metric=exact, **more):
    given = {"epochs": 1, "group_size": 4, "num_threads": 1, "display_progress": False, "library": LIBRARY, **more}
    with dspy.context(lm=engine.lm()):
        return TrainingFreeGRPO(metric, **given).compile(dspy.ChainOfThought(QA), examples(count), valset=valset)


def groups_of(program):
    return [group for step in program.detailed_results.steps for group in step.groups]


def rollouts_of(program):
    return [r for group in groups_of(program) for r in group.rollouts]


# --- what a rollout reads ---


def test_of_each_two_rollouts_of_a_group_one_reads_an_entry():
    groups = groups_of(compiled(Engine(script(policy=echo)), trials=True, count=8))
    for group in groups:
        for pair in (group.rollouts[:2], group.rollouts[2:4]):
            assert sorted(id for r in pair for id in r.withheld) == sorted(IDS)
    assert len({r.withheld for group in groups for r in group.rollouts}) > 5, "each entry by itself"


def test_each_rollout_reads_all_but_what_it_says_was_withheld():
    rollouts = rollouts_of(compiled(Engine(script(policy=echo)), trials=True))
    assert all(set(re.findall(r"G\d+", r.answer)) == IDS - set(r.withheld) for r in rollouts)


def test_who_reads_what_is_drawn_from_the_seed_alone():
    drawn = [
        [r.withheld for r in rollouts_of(compiled(Engine(script(policy=echo)), trials=True, num_threads=t, seed=s))]
        for t, s in ((1, 0), (4, 0), (1, 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_without_trials_everything_is_read_and_nothing_measured():
    engine = Engine(script(policy=echo))
    program = compiled(engine)
    assert {r.withheld for r in rollouts_of(program)} == {()}
    assert program.detailed_results.effects == program.detailed_results.steps[0].effects == ()
    assert not any("effects" in asked.system for asked in engine.of("update"))
    assert not any("random part" in asked.system for asked in engine.asked)


def test_validation_and_evaluation_read_everything():
    engine = Engine(script(policy=echo))
    program = compiled(engine, trials=True, valset=examples(3))
    judged = program.detailed_results.initial_validation
    assert {r.answer for g in judged.groups for r in g.scored} == {"reasoning: because\nanswer: G0, G1, G2, G3"}
    with dspy.context(lm=engine.lm()):
        made = evaluate(program, examples(2), exact, k=2, num_threads=1, display_progress=False)
    read = {e.id for e in program.experience_library}
    assert all(set(re.findall(r"G\d+", r.answer)) == read for g in made.groups for r in g.scored)


def test_a_group_metric_gets_what_was_withheld_too():
    rollouts = rollouts_of(compiled(Engine(script(policy=echo)), trials=True, metric=MajorityVote()))
    assert all(set(re.findall(r"G\d+", r.answer)) == IDS - set(r.withheld) for r in rollouts)


def test_an_adaptive_group_ends_with_whole_pairs_so_that_no_side_is_counted_for_its_luck():
    groups = groups_of(compiled(Engine(script(policy=misled)), trials=True, count=12, group_size=6, min_group_size=2))
    assert {len(group.rollouts) for group in groups} <= {2, 4, 6}
    assert {len(group.rollouts) for group in groups} != {6}


def test_a_run_that_is_taken_up_withholds_and_measures_the_same(tmp_path):
    first = compiled(Engine(script(policy=misled)), trials=True, epochs=2, log_dir=tmp_path / "log")
    engine = Engine(script(policy=misled))
    again = compiled(engine, trials=True, epochs=2, log_dir=tmp_path / "log")
    assert engine.calls == 0
    assert [r.withheld for r in rollouts_of(again)] == [r.withheld for r in rollouts_of(first)]
    assert again.detailed_results.effects == first.detailed_results.effects
    assert dump_library(again.experience_library) == dump_library(first.experience_library)


def test_another_process_withholds_the_same():
    sampling = Sampling("training seed 0", 1, 3, 0.7, 0.0, on_trial=ALL)
    task = RolloutTask.of(attach(dspy.Predict(QA), LIBRARY), exact, sampling)
    elsewhere = cloudpickle.loads(cloudpickle.dumps(task))
    example = examples(1)[0]
    with dspy.context(lm=Engine(script(policy=echo)).lm()):
        made = [[each(example, f"s1/e0/r{i}") for i in range(5)] for each in (task, elsewhere)]
    assert [(r.withheld, r.answer) for r in made[0]] == [(r.withheld, r.answer) for r in made[1]]


def test_withholding_leaves_the_program_and_the_other_predictors_alone():
    library = replace(LIBRARY, experiences=tuple(replace(e, scope="self") if e.id == "G1" else e for e in LIBRARY))
    program = attach(dspy.Predict(QA), library)
    before = program.signature.instructions
    assert read_in(withhold(program, {"G1": None, "G3": None}).signature.instructions) == {"G0", "G2"}
    assert read_in(withhold(program, ALL).signature.instructions) == set()
    assert "[G1] As it was." in withhold(program, {"G1": "As it was."}).signature.instructions
    assert program.signature.instructions == before
    assert program.experience_library == library


def test_what_is_retrieved_is_on_trial_where_it_is_found():
    program = Retrieving(dspy.Predict(QA), LIBRARY, BM25(1))
    assert [e.id for e in program.read_for(question="carry the ten")] == ["G1"]
    without, as_it_was = withhold(program, {"G1": None}), withhold(program, {"G1": "Carry."})
    assert without.read_for(question="carry the ten") == ()
    assert [e.text for e in as_it_was.read_for(question="carry the ten")] == ["Carry."]
    assert [e.id for e in program.read_for(question="carry the ten")] == ["G1"], "the program is as it was"
    task = RolloutTask.of(program, exact, Sampling("training seed 0", 1, 2, 0.7, 0.0, on_trial=ALL))
    example = dspy.Example(question="carry the ten", answer="1").with_inputs("question")
    with dspy.context(lm=Engine(script(policy=echo)).lm()):
        made = [task(example, f"s1/e0/r{i}") for i in range(2)]
    assert sorted(r.withheld for r in made) == [(), ("G1",)], "what no rollout would read tells nothing"


# --- what is made of it ---


@pytest.mark.parametrize("valset", [None, examples(3)])
def test_the_history_says_what_the_run_says_and_survives_its_file(valset):
    program = compiled(Engine(script(policy=misled)), trials=True, epochs=2, count=8, valset=valset)
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
    program = compiled(engine, trials=True, count=8, update="batch")
    shown = engine.of("update")[0].field("effects")
    effects = program.detailed_results.steps[0].effects
    assert shown.splitlines() == [f"[{e.id}] {e.to_text()}" for e in effects]
    assert "random part" in engine.of("extraction")[0].system


def test_what_hurts_is_taken_out_with_a_commit_that_can_be_rolled_back():
    program = compiled(Engine(script(policy=misled)), trials=True, count=8, epochs=2)
    result = program.detailed_results
    taken = [(step.step, change) for step in result.steps for change in step.by_trial if change.id == "G0"]
    ((at, change),) = taken
    assert change.reason.startswith("on trial it hurts: -")
    assert "G0" not in program.experience_library
    history = history_of(result)
    assert history.at(at) == result.steps[at - 1].library
    (commit,) = [commit for commit in history if "G0" in {c.id for c in commit.changes if c.kind == "delete"}]
    assert "G0" in rollback(history, commit.parent).library


def test_what_helps_stays_is_read_by_all_from_then_on_and_is_not_deleted_by_an_update():
    def deleting(asked: Asked):
        return {"operations": [{"op": "delete", "id": "G1", "reason": "Too long.", "sources": ["A0"]}]}

    program = compiled(Engine(script(policy=guided, update=deleting)), trials=True, update="batch", count=8, epochs=2)
    first, second = program.detailed_results.steps[:2]
    assert {e.id: e.verdict for e in first.effects}["G1"] == "helps"
    assert not any("G1" in r.withheld for group in second.groups for r in group.rollouts)
    assert any("on trial G1 helps" in refusal.reason for refusal in first.refusals)
    assert "G1" in program.experience_library


def test_a_pinned_experience_is_measured_and_never_taken_out():
    program = compiled(Engine(script(policy=misled)), trials=True, library=LIBRARY.pin("G0"), count=8, epochs=2)
    (effect,) = [e for e in program.detailed_results.effects if e.id == "G0"]
    assert effect.verdict == "hurts"
    assert "G0" in program.experience_library


def test_a_change_of_what_is_established_that_hurts_is_taken_back_at_the_next_step():
    trials = Trials(Likeness({f"e{i}": f"Add {i} and 7" for i in range(20)}))
    trials.take(step_of(trials, LIBRARY, better="G1"), LIBRARY)
    assert "G1" not in trials.on_trial(LIBRARY)
    changed = LIBRARY.apply([Modify(id="G1", text="When adding, forget the ten.")]).library
    assert trials.on_trial(changed)["G1"] == LIBRARY["G1"].text, "the others read what it was before"
    effects = trials.take(step_of(trials, changed, worse="G1"), changed)
    (effect,) = [e for e in effects if e.id == "G1"]
    assert (effect.verdict, effect.against) == ("hurts", LIBRARY["G1"].text)
    assert "as it was" in effect.to_text()


def test_a_change_that_does_nothing_stays():
    trials = Trials(Likeness({f"e{i}": f"Add {i} and 7" for i in range(20)}))
    trials.take(step_of(trials, LIBRARY, better="G1"), LIBRARY)
    changed = LIBRARY.apply([Modify(id="G1", text="When adding, always carry the ten.")]).library
    trials.take(step_of(trials, changed), changed)
    assert all(e.text != changed["G1"].text for e in trials.dismissed(changed))
    assert "G1" in changed


def step_of(trials: Trials, library: ExperienceLibrary, better: str = "", worse: str = "") -> list[Group]:
    """A step's groups: right or wrong by turns, or by whether an entry was read."""
    sampling = Sampling("training seed 0", 1, 4, 0.7, 0.0, on_trial=trials.on_trial(library))

    def rollout(i: int, j: int) -> Scored:
        name = f"s1/e{i}/r{j}"
        withheld = tuple(sampling.withheld(name))
        reward = float(better not in withheld) if better else float(worse in withheld) if worse else float(j // 2)
        return Scored(name, reward, "", "", "", 0, Usage(), 0.0, withheld=withheld)

    return [Group(f"s1/e{i}", dspy.Example(), tuple(rollout(i, j) for j in range(4))) for i in range(20)]


@pytest.mark.parametrize(("epochs", "made"), [(1, [1, 1]), (2, [1, 2, 2, 2]), (3, [1, 2, 3, 3, 3])])
def test_the_last_of_several_epochs_is_for_what_is_in_doubt_and_reflects_on_nothing(epochs, made):
    program = compiled(Engine(script(policy=echo)), trials=True, count=4, epochs=epochs)
    steps = program.detailed_results.steps
    assert [step.epoch for step in steps] == made
    for step in steps[max(epochs - 1, 1) :]:
        assert step.advantages == ()
        assert step.reflection_usage.lm_calls == 0
    settled = compiled(Engine(script(policy=echo)), trials=True, library=ExperienceLibrary())
    assert len(settled.detailed_results.steps) == 1, "nothing is in doubt"


@pytest.mark.parametrize(
    ("value", "prior", "against", "settled"),
    [(0.1, 0.0, None, False), (0.1, 3.0, None, True), (-0.2, 3.0, None, False), (0.1, 3.0, "Guess.", False)],
)
def test_an_entry_whose_like_help_is_read_by_all_on_less_evidence_but_a_change_is_not(value, prior, against, settled):
    measured = Effect("G0", "Check.", value, value - 0.3, value + 0.3, 0.0, -0.1, 0.1, value, 20, 20)
    assert is_settled(replace(measured, prior=prior, against=against)) is settled
    assert is_settled(replace(measured, verdict="hurts"))


def test_records_hold_what_was_measured_and_taken_out():
    program = compiled(Engine(script(policy=misled)), trials=True, count=8, epochs=1)
    record = program.detailed_results.steps[0]
    table = effects_table(record.effects, str)
    assert table["id"] == [e.id for e in record.effects]
    assert table["low"][0] <= table["effect_where_it_applies"][0] <= table["high"][0] < 0
    assert table["effect_where_it_applies"][0] < table["shrunken"][0]
    operations = operations_table(record, str)
    assert operations["id"][operations["outcome"].index("by trial")] == "G0"
    settings = TrainingFreeGRPO(exact).settings
    metrics = step_metrics(record, settings)
    assert metrics["effects/by_trial"] == metrics["effects/hurts"] == 1
    assert metrics["effects/measured"] == len(record.effects)
    assert not any(name.startswith("effects/") for name in step_metrics(replace(record, effects=()), settings))


def test_trials_need_a_group():
    with pytest.raises(SettingsError, match="`group_size` above 1"):
        TrainingFreeGRPO(exact, trials=True, group_size=1, require_contrast=False)


# --- whether it is right, on made-up rewards (`benchmarks.trials` has it on the embedded LM) ---


def test_what_helps_or_hurts_a_few_tasks_is_found_among_what_does_nothing_without_a_citation():
    rng = random.Random(0)
    kinds = ["apples", "trains", "fences", "clocks", "recipes", "triangles", "wages", "tides"]
    tasks = {f"e{i}": f"A question about {kinds[i % 8]}, number {i}" for i in range(80)}
    does = {kind: 0.4 if place < 4 else -0.4 for place, kind in enumerate(kinds)}
    texts = [f"When {kind} are asked about, do it so." for kind in kinds] + [
        f"Be {word}." for word in "careful calm exact brief bold kind quick neat".split()
    ]
    library = ExperienceLibrary.from_texts(texts)
    trials = Trials(Likeness(tasks))
    for step in range(1, 4):
        sampling = Sampling("training seed 0", step, 5, 0.7, 0.0, on_trial=trials.on_trial(library))

        def rollout(i: int, j: int, step: int = step, sampling: Sampling = sampling) -> Scored:
            name = f"s{step}/e{i}/r{j}"
            withheld, about = tuple(sampling.withheld(name)), f"G{i % 8}"
            reads = about in sampling.on_trial and about not in withheld
            right = rng.random() < 0.5 + reads * does[kinds[i % 8]]
            return Scored(name, float(right), "", "", "", 0, Usage(), 0.0, withheld=withheld)

        groups = [Group(f"s{step}/e{i}", dspy.Example(), tuple(rollout(i, j) for j in range(5))) for i in range(80)]
        library = library.apply(verdicts_on(library, trials.take(groups, library))).library
    left = {e.id for e in library}
    assert {"G0", "G1", "G2", "G3"} <= left
    assert not {"G4", "G5", "G6", "G7"} & left
    assert len(left) <= 6
