"""Reviews: a person accepts, edits or refuses each operation before it reaches the library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run, the_error
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import (
    Add,
    Decision,
    ExperienceLibrary,
    Keep,
    Proposed,
    ReviewStop,
    RunStopped,
    SettingsError,
    TrainingFreeGRPO,
    read_library,
)
from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.history.file import load_tracked

START = ExperienceLibrary.from_texts(["When asked, answer.", "When lost, look back."])
OPERATIONS = [
    {"op": "add", "text": "When red, stop at once.", "sources": ["A0"], "reason": "it won"},
    {"op": "modify", "id": "G0", "text": "When asked twice, answer.", "reason": "narrower"},
    {"op": "delete", "id": "G1", "reason": "it misled"},
    {"op": "keep"},
]
ACCEPT = Decision("accept")


def learned(review, *, engine: Engine | None = None, **settings):
    engine = engine or Engine(script(update={"operations": OPERATIONS}))
    given = {"epochs": 1, "group_size": 3, "update": "batch", "num_threads": 1, "display_progress": False}
    given |= {"library": START, **settings}
    with dspy.context(lm=engine.lm()):
        return TrainingFreeGRPO(exact, review=review, **given).compile(dspy.Predict("question -> answer"), examples(3))


def texts(program: dspy.Module) -> dict[str, str]:
    return {e.id: e.text for e in program.experience_library}


# --- the callable ---


def test_a_review_sees_the_library_and_every_proposal_with_what_it_rests_on():
    seen: list[tuple[ExperienceLibrary, Sequence[Proposed]]] = []

    def accept_all(library, proposals):
        seen.append((library, proposals))
        return [ACCEPT] * len(proposals)

    program = learned(accept_all)
    library, (delete, modify, add) = seen[0]
    assert library == START
    assert (add.step, add.operation.text, add.before) == (1, "When red, stop at once.", None)
    assert [e.source.example for e in add.evidence] == [add.evidence[0].source.example]
    assert add.evidence[0].task.startswith("question: q")
    assert len(add.evidence[0].rewards) == 3
    assert (modify.before, delete.before) == ("When asked, answer.", "When lost, look back.")
    assert len(delete.evidence) >= 1, "an operation that cites nothing rests on all"
    assert texts(program) == {"G0": "When asked twice, answer.", "G2": "When red, stop at once."}


def test_without_a_review_and_with_one_that_accepts_all_the_library_is_the_same():
    assert learned(None).experience_library == learned(lambda _, p: [ACCEPT] * len(p)).experience_library


def test_what_is_refused_is_recorded_with_the_reason():
    program = learned(lambda *_: [ACCEPT, Decision("refuse"), Decision("refuse", "too vague")])
    (record,) = program.detailed_results.steps
    assert [(r.operation.op, r.reason) for r in record.refusals] == [
        ("modify", "a person refused it: no reason was given"),
        ("add", "a person refused it: too vague"),
    ]
    assert texts(program) == {"G0": "When asked, answer."}
    assert [c.kind for c in record.changes] == ["delete", "keep"]


def test_an_edited_text_is_a_persons_and_rests_on_the_same_groups():
    def edit(library, proposals):
        changed = proposals[-1].operation.model_copy(update={"text": "When red, brake."})
        return [ACCEPT, ACCEPT, Decision("edit", operation=changed)]

    added = learned(edit).experience_library["G2"]
    untouched = learned(lambda _, p: [ACCEPT] * len(p)).experience_library["G2"]
    assert (added.text, added.provenance.author) == ("When red, brake.", "person")
    assert (untouched.provenance.author, added.provenance.sources) == ("updater", untouched.provenance.sources)


def test_an_edit_without_sources_keeps_those_of_the_proposal():
    program = learned(lambda *_: [ACCEPT, ACCEPT, Decision("edit", operation=Add(text="When red, brake."))])
    assert len(program.experience_library["G2"].provenance.sources) == 1


def test_an_edited_operation_is_checked_like_any_other():
    said = Add(text="When asked twice, do answer.")
    program = learned(lambda *_: [ACCEPT, ACCEPT, Decision("edit", operation=said)])
    (record,) = program.detailed_results.steps
    assert [r.reason for r in record.refusals] == ["it repeats G0"]


def test_no_review_is_asked_when_nothing_would_change():
    engine = Engine(script(update={"operations": [{"op": "keep"}]}))
    program = learned(lambda *_: pytest.fail("there is nothing to decide"), engine=engine)
    assert program.experience_library.experiences == START.experiences


@pytest.mark.parametrize("returned", [[], [ACCEPT], ["accept"] * 3, [ACCEPT] * 4])
def test_a_review_decides_each_proposal_or_is_refused(returned):
    with pytest.raises(SettingsError, match="one Decision for each of the 3 operations"):
        learned(lambda *_: returned)


def test_a_decision_has_an_operation_when_it_is_an_edit_and_only_then():
    for wrong in ({"verdict": "edit"}, {"verdict": "accept", "operation": Keep()}):
        with pytest.raises(SettingsError, match="only then"):
            Decision(**wrong)


def test_a_review_that_is_no_function_is_refused():
    with pytest.raises(SettingsError, match="`review` must be a function"):
        TrainingFreeGRPO(exact, review="yes")


def test_a_review_can_stop_the_run_with_what_was_learned_before():
    def one_step_only(library, proposals):
        if proposals[0].step == 2:
            raise ReviewStop("enough for today")
        return [ACCEPT] * len(proposals)

    with pytest.raises(RunStopped, match="after 1 of 2 steps: ReviewStop: enough for today") as caught:
        learned(one_step_only, engine=Engine(script()), epochs=2)
    assert len(caught.value.result.steps) == 1
    assert len(caught.value.result.library) > len(START)


def test_a_run_that_is_taken_up_asks_for_no_decision_twice():
    asked: list[int] = []

    def stop_at(stop: int):
        def review(library, proposals):
            if proposals[0].step >= stop:
                raise ReviewStop("later")
            asked.append(proposals[0].step)
            return [Decision("refuse", "no"), *[ACCEPT] * (len(proposals) - 1)]

        return review

    engine = Engine(script())
    for stop in (2, 3):
        with pytest.raises(RunStopped):
            learned(stop_at(stop), engine=engine, epochs=3, log_dir="log")
    calls = engine.calls
    program = learned(stop_at(4), engine=engine, epochs=3, log_dir="log")
    assert asked == [1, 2, 3]
    assert engine.calls == calls, "everything up to the last update was done"
    straight = learned(stop_at(4), engine=Engine(script()), epochs=3)
    assert program.experience_library == straight.experience_library


def test_a_reviewed_run_is_not_gone_on_with_unreviewed():
    with pytest.raises(RunStopped):
        learned(lambda *_: (_ for _ in ()).throw(ReviewStop("later")), log_dir="log")
    with pytest.raises(StoreError, match="review was true, is null"):
        learned(None, log_dir="log")


# --- the command line ---


def compiled(*arguments: str, typed: str | None = None):
    more = ("--metric", "number", "--lm", "simulated", "--no-tracking", "--epochs", "1")
    return run("compile", SOLVER, "train.jsonl", *more, *arguments, typed=typed)


@pytest.fixture
def data():
    problems(4)


def told(result, line_start: str) -> str:
    return next(line for line in result.stderr.splitlines() if line.startswith(line_start))


@pytest.mark.usefixtures("data")
def test_each_operation_is_accepted_refused_or_edited_at_the_terminal():
    result = compiled("--review", typed="x\na\nr\ntoo vague\ne\n \nWhen tired, take a nap.\nA\n")
    assert result.exit_code == 0, result.output
    assert "Step 1 proposes 4 operations: a accept, r refuse, e edit, A accept all the rest, q stop" in result.stdout
    assert "rewards" in result.stdout
    assert "that cannot be: the text is empty" in result.stdout
    tracked = load_tracked("out/library.json")
    assert [e.provenance.author for e in tracked.library].count("person") == 1
    assert "When tired, take a nap." in [e.text for e in tracked.library]
    (commit,) = tracked.history
    assert [r.reason for r in commit.refusals] == ["a person refused it: too vague"]
    assert "too vague" in Path("out/report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("data")
def test_the_run_can_be_stopped_at_an_operation_and_gone_on_with_later():
    for typed in ("a\nq\n", "a\n"):  # the second ends where input ends
        result = compiled("--review", typed=typed)
        assert result.exit_code == 4
        assert "the operations of step 1 were applied; the same command goes on there" in told(result, "Review: ")
        assert not Path("out/library.json").exists()
    assert compiled("--review", typed="A\n").exit_code == 0
    assert len(read_library("out/library.json")) == 4


@pytest.mark.usefixtures("data")
def test_a_step_is_decided_in_a_file():
    first = compiled("--review-file", "decide.json")
    assert first.exit_code == 4
    assert "step 1 proposes 4 operations: decide in decide.json, then run the same command again" in first.stderr
    document = json.loads(Path("decide.json").read_text(encoding="utf-8"))
    assert "verdict" in document["how"]
    again = compiled("--review-file", "decide.json")
    assert (again.exit_code, "4 of 4 operations of step 1 have no verdict" in again.stderr) == (4, True)
    refuse, edit, *rest = document["operations"]
    refuse |= {"verdict": "refuse", "reason": "nonsense"}
    edit["verdict"] = "edit"
    edit["operation"]["text"] = "When tired, take a nap."
    for item in rest:
        item["verdict"] = "accept"
    Path("decide.json").write_text(json.dumps(document), encoding="utf-8")
    last = compiled("--review-file", "decide.json")
    assert last.exit_code == 0, last.output
    library = read_library("out/library.json")
    assert [e.provenance.author for e in library].count("person") == 1
    assert "When tired, take a nap." in [e.text for e in library]
    assert len(library) == 3


@pytest.mark.usefixtures("data")
def test_the_next_step_takes_the_file_over():
    arguments = ("--review-file", "decide.json", "--epochs", "2", "--group-size", "3")
    for step in (1, 2):
        waiting = compiled(*arguments)
        assert f"step {step} proposes" in told(waiting, "Review: ")
        document = json.loads(Path("decide.json").read_text(encoding="utf-8"))
        for item in document["operations"]:
            item["verdict"] = "refuse" if step == 1 else "accept"
        Path("decide.json").write_text(json.dumps(document), encoding="utf-8")
    assert compiled(*arguments).exit_code == 0
    assert not Path("decide.1.json").exists()
    assert len(load_tracked("out/library.json").history) == 2


@pytest.mark.usefixtures("data")
def test_decisions_on_other_operations_are_put_aside():
    compiled("--review-file", "decide.json")
    before = Path("decide.json").read_bytes()
    assert compiled("--review-file", "decide.json", "--seed", "4", "--out", "other").exit_code == 4
    assert Path("decide.1.json").read_bytes() == before


def spoilt(change) -> str:
    document = json.loads(Path("decide.json").read_text(encoding="utf-8"))
    for item in document["operations"]:
        item["verdict"] = "accept"
    change(document)
    Path("decide.json").write_text(json.dumps(document), encoding="utf-8")
    result = compiled("--review-file", "decide.json")
    assert result.exit_code == 2, result.output
    return the_error(result)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d["operations"][1].update(verdict="yes"), 'operations[1].verdict must be "accept", "refuse" or'),
        (lambda d: d["operations"][1]["operation"].update(text="Other."), "operations[1].operation is changed, which"),
        (lambda d: d["operations"][1].update(verdict="edit"), "operations[1].operation is as it was proposed"),
        (lambda d: d["operations"][1].update(operation={"op": "drop"}), "operations[1].operation is none"),
        (lambda d: d["operations"].pop(), "operations must be the 4 that were written"),
        (lambda d: d.update(version=2), "is no tfgrpo-review file of version 1"),
    ],
)
def test_a_spoilt_file_is_one_sentence_that_says_where(change, problem):
    compiled("--review-file", "decide.json")
    assert problem in spoilt(change)


@pytest.mark.usefixtures("data")
def test_a_file_that_is_no_json_and_two_ways_of_reviewing_are_refused():
    Path("decide.json").write_text("{oops", encoding="utf-8")
    assert "decide.json is no valid JSON" in the_error(compiled("--review-file", "decide.json"))
    assert "choose one of the two" in the_error(compiled("--review", "--review-file", "decide.json"))
