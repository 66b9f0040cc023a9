"""One path to E': whoever rules sees the library that will be kept, and nothing edits it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, script
from tfgrpo_dspy import Decision, ExperienceLibrary, Refusal, TrainingFreeGRPO, history_of
from tfgrpo_dspy.gates.gate import Hearing
from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.draft import Draft
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify
from tfgrpo_dspy.records.updates import Ruling
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

START = ExperienceLibrary.from_texts(
    [f"When the task is about {what}, begin with what is known of {what}." for what in ("trains", "coins", "gardens")]
)
NEW = "When two workers share one job, add up what each of them does in an hour."


class Recording:
    """Lets everything pass, or what a word does not forbid, and remembers the libraries that it judged."""

    def __init__(self, forbidden: str = "") -> None:
        self.judged: list[ExperienceLibrary] = []
        self.forbidden = forbidden

    def rule(self, hearing: Hearing) -> Ruling:
        refused = [o for o in hearing.operations if self.forbidden and self.forbidden in o.op]
        passed = tuple(o for o in hearing.operations if o not in refused)
        self.judged.append(hearing.after(passed))
        return Ruling(passed, tuple(Refusal(o, "forbidden") for o in refused))


def demo(**settings: Any) -> dspy.Module:
    with dspy.context(lm=simulated_lm(0, cache=False)):
        optimizer = TrainingFreeGRPO(number, epochs=2, num_threads=2, display_progress=False, **settings)
        return optimizer.compile(make_solver(), demo_examples(24, seed=0))


def small(review=None, gate=None, **settings: Any) -> dspy.Module:
    """One step in which an update adds an entry to a library that is full already."""

    def update(asked: Asked) -> Mapping[str, Any]:
        if "alike" in asked.user:
            return {"operations": [{"op": "delete", "id": "G0", "reason": "it says little"}]}
        return {"operations": [{"op": "add", "text": NEW, "sources": ["A0"], "reason": "it won"}]}

    answers = iter("10" * 50)
    engine = Engine(script(policy=lambda asked: {"answer": next(answers)}, update=update))
    given = {"epochs": 1, "group_size": 2, "update": "batch", "num_threads": 1, "display_progress": False}
    given |= {"library": START, **settings}
    with dspy.context(lm=engine.lm()):
        optimizer = TrainingFreeGRPO(exact, review=review, gate=gate, max_library_tokens=START.tokens + 3, **given)
        return optimizer.compile(dspy.Predict("question -> answer"), examples(1))


def test_every_text_that_is_returned_was_shown_to_the_reviewer():
    shown: set[str] = set()

    def person(library, proposed):
        shown.update(p.operation.text for p in proposed if hasattr(p.operation, "text"))
        return [Decision("accept") for _ in proposed]

    program = demo(review=person, max_library_tokens=250)
    assert {e.text for e in program.experience_library} <= shown
    assert 0 < program.experience_library.tokens <= 250


@pytest.mark.parametrize("settings", [{}, {"max_library_tokens": 250}, {"trials": True}])
def test_the_library_judged_is_the_library_kept(settings):
    gate = Recording()
    steps = demo(gate=gate, **settings).detailed_results.steps
    changed = [record for record in steps if any(change.kind != "keep" for change in record.changes)]
    assert gate.judged == [record.library for record in changed] != []


def test_what_is_taken_out_is_proposed_too_and_may_be_refused():
    seen: list[tuple[str, str]] = []

    def person(library, proposed):
        seen.extend((p.by, p.operation.op) for p in proposed)
        return [Decision("refuse" if p.by == "condense" else "accept", "it is needed") for p in proposed]

    assert [e.text for e in small().experience_library] == [START["G1"].text, START["G2"].text, NEW]
    program = small(review=person)
    assert sorted(seen) == [("condense", "delete"), ("update", "add")]
    assert program.experience_library.experiences == START.experiences, "without the room, the new entry stays out"
    refused = {r.operation.op: r.reason for r in program.detailed_results.steps[0].refusals}
    assert refused["delete"] == "a person refused it: it is needed"
    assert refused["add"] == "the library would exceed max_library_tokens"


def test_what_a_gate_refused_to_make_room_for_stays_out():
    gate = Recording(forbidden="delete")
    program = small(gate=gate)
    assert program.experience_library.experiences == START.experiences
    reasons = [r.reason for r in program.detailed_results.steps[0].refusals]
    assert any("had made room for it" in reason for reason in reasons)


def test_a_step_is_one_commit_whatever_was_condensed_and_trimmed():
    result = small().detailed_results
    assert len(history_of(result)) == 2, "the library at the start, and the step"
    assert history_of(result).library == result.library


# --- several edits as one ---

TEXTS = [f"When it is about number {i}, think of {w} first." for i, w in enumerate(("sun", "rain", "snow", "wind"))]
texts = st.sampled_from([*TEXTS, *(f"{t} Then {w}." for t in TEXTS[:2] for w in ("wait", "go"))])
ids = st.sampled_from([f"G{i}" for i in range(6)])
operation = st.one_of(
    st.builds(Add, text=texts), st.builds(Modify, id=ids, text=texts), st.builds(Delete, id=ids, reason=texts)
)


@given(st.lists(st.lists(operation, max_size=4), max_size=4))
def test_what_several_edits_come_to_makes_the_same_library_in_one(stages):
    draft = Draft(START, START)
    for stage in stages:
        draft = draft.then(stage, "update", step=1, limits=Limits())
    net = draft.net({})
    assert len({o.id for o in net.operations if not isinstance(o, Add)}) + sum(
        isinstance(o, Add) for o in net.operations
    ) == len(net.operations), "one operation for an entry"
    at_once = START.apply(net.operations)
    assert sorted(e.text for e in at_once.library) == sorted(e.text for e in draft.now) or at_once.refusals


def test_an_entry_that_is_added_and_taken_out_again_is_refused_with_the_reason():
    draft = Draft(START, START).then([Add(text=NEW, reason="it won")], "update", step=1, limits=Limits())
    draft = draft.then([Delete(id="G3", reason="no room")], "trim", step=1, limits=Limits())
    net = draft.net({})
    assert net.operations == ()
    assert [(r.operation, r.reason) for r in net.refusals] == [(Add(text=NEW, reason="it won"), "trim: no room")]


def test_a_text_that_is_added_and_then_shortened_is_added_short_with_both_reasons():
    draft = Draft(START, START).then([Add(text=NEW, reason="it won")], "update", step=1, limits=Limits())
    short = Modify(id="G3", text="When two work, add rates.", reason="shorter")
    draft = draft.then([short], "condense", step=1, limits=Limits())
    assert draft.net({}).operations == (Add(text="When two work, add rates.", reason="it won; shorter"),)


def test_a_reason_names_a_new_entry_by_no_id_of_the_draft_it_was_made_in():
    draft = Draft(START, START)
    draft = draft.then([Add(text=NEW, reason="it won")], "update", step=1, limits=Limits())
    new = draft.now.experiences[-1].id
    again = [Keep(id=new, reason=f"[{new}] says it, as {new}0 does not.")]
    (operation,) = draft.then(again, "update", step=1, limits=Limits()).net({}).operations
    assert operation.reason == f"it won; This experience says it, as {new}0 does not."
