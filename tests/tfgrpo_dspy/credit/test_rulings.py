"""What becomes of entries when their trial is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tfgrpo_dspy.made_events import effect_on
from tfgrpo_dspy import ExperienceLibrary
from tfgrpo_dspy.credit.rulings import verdicts_on, within_verdicts
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify

LIBRARY = ExperienceLibrary.from_texts(["When adding, guess.", "When adding, carry the ten.", "When done, check it."])
HURTS, HELPS, NOTHING = (
    replace(effect_on(entry), verdict=verdict)
    for entry, verdict in zip(LIBRARY, ("hurts", "helps", "does nothing"), strict=True)
)


def test_what_hurts_and_what_does_nothing_is_deleted_with_the_measurement_as_its_reason():
    made = verdicts_on(LIBRARY, [HURTS, HELPS, NOTHING])
    assert [(o.op, o.id) for o in made] == [("delete", "G0"), ("delete", "G2")]
    assert made[0].reason == f"on trial it {HURTS.to_text()}"


def test_a_change_that_hurts_is_put_back_and_one_that_does_nothing_stays():
    changes = [replace(HURTS, against="When adding, add."), replace(NOTHING, against="When done, stop.")]
    assert [(o.op, o.id, o.text) for o in verdicts_on(LIBRARY, changes)] == [("modify", "G0", "When adding, add.")]


def test_what_is_likelier_to_hurt_goes_when_its_trial_ends_and_not_before():
    doubted, likely = effect_on(LIBRARY.experiences[0], -0.06), effect_on(LIBRARY.experiences[1], -0.02)
    assert verdicts_on(LIBRARY, [doubted, likely]) == []
    helps = replace(effect_on(LIBRARY.experiences[2]), verdict="helps", value=-0.5)
    (made,) = verdicts_on(LIBRARY, [doubted, likely, helps], trial_ends=True)
    assert (made.op, made.id) == ("delete", "G0")
    assert made.reason.startswith("it is likelier to hurt than to help, though its trial ended undecided: -0.060")
    assert verdicts_on(LIBRARY, [replace(doubted, prior=3.0)], trial_ends=True) == [], "nearly all of its like help"
    changed = replace(doubted, against="When adding, add.")
    assert [o.text for o in verdicts_on(LIBRARY, [changed], trial_ends=True)] == ["When adding, add."]


@pytest.mark.parametrize(
    ("value", "prior", "goes"), [(-0.02, 0.0, True), (0.0, 0.5, True), (0.0, 1.0, False), (-0.02, 3.0, False)]
)
def test_beside_one_that_is_near_to_it_and_helps_more_is_asked_of_an_entry_when_trials_end(value, prior, goes):
    of_like = replace(effect_on(LIBRARY.experiences[0], value), prior=prior)
    assert bool(verdicts_on(LIBRARY, [of_like, HELPS], trial_ends=True)) == goes
    assert verdicts_on(LIBRARY, [of_like, HELPS]) == [], "its trial goes on"
    apart = replace(effect_on(LIBRARY.experiences[2]), verdict="helps")
    assert verdicts_on(LIBRARY, [of_like, apart], trial_ends=True) == []


@pytest.mark.parametrize(("value", "chance"), [(0.1, 0.975), (0.0, 0.5), (-0.1, 0.025)])
def test_the_chance_of_helping_goes_by_value_and_interval(value, chance):
    assert effect_on(LIBRARY.experiences[0], value).chance_of_helping == pytest.approx(chance, abs=0.001)
    exact = replace(effect_on(LIBRARY.experiences[0], value), low=value, high=value)
    assert exact.chance_of_helping == (0.5 if value == 0 else value > 0)


def test_pinned_entries_and_texts_written_since_stay():
    pinned = LIBRARY.pin("G0")
    assert verdicts_on(pinned, [HURTS]) == []
    assert verdicts_on(LIBRARY, [replace(HURTS, text="Another text.")]) == []


def test_what_was_measured_speaks_against_operations_of_an_update():
    gone = replace(NOTHING, id="G9", text="When solving a problem, check the calculation carefully.")
    again = Add(text="When solving a problem, check the calculation carefully!")
    rewritten = Modify(id="G0", text="When solving a problem, check the calculation carefully.")
    others = [Delete(id="G0"), Add(text="When subtracting, borrow from the next column."), Keep()]
    kept, refused = within_verdicts([again, rewritten, Delete(id="G1"), *others], [HURTS, HELPS], [gone])
    assert kept == others
    assert [r.operation.op for r in refused] == ["add", "modify", "delete"]
    assert refused[0].reason == f"it is what G9 said, which on trial {gone.to_text()}"
    assert refused[2].reason == f"on trial G1 {HELPS.to_text()}"
