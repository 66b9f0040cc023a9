"""Pruning: what goes, what stays, and how sure one has to be."""

from __future__ import annotations

from tfgrpo_dspy import ExperienceLibrary
from tfgrpo_dspy.credit.prune import harmful, prune
from tfgrpo_dspy.records.effects import Effect

LIBRARY = ExperienceLibrary.from_texts([f"When it is case {i}, do {i}." for i in range(20)])


def effect(at: int, z: float) -> Effect:
    return Effect(f"G{at}", LIBRARY[f"G{at}"].text, z, z - 1.96, z + 1.96, 70, 30)


def test_only_an_interval_below_zero_is_harmful_and_the_worst_comes_first():
    effects = [effect(0, -3), effect(1, -1.9), effect(2, 4), effect(3, -5)]
    assert [e.id for e in harmful(effects)] == ["G3", "G0"]
    assert harmful([]) == ()


def test_among_many_entries_one_has_to_be_surer():
    assert [e.id for e in harmful([effect(0, -2.1)])] == ["G0"]
    assert harmful([effect(0, -2.1), *(effect(i, 0.1) for i in range(1, 20))]) == ()


def test_an_early_look_has_to_be_surer():
    assert harmful([effect(0, -2.5)], share=1.0)
    assert not harmful([effect(0, -2.5)], share=1 / 3)
    assert harmful([effect(0, -4)], share=1 / 3)


def test_pruning_deletes_with_the_measured_reason():
    (gone,) = prune(LIBRARY, [effect(0, -4), effect(1, 4)])
    assert gone.id == "G0"
    assert "measured effect -4.000" in gone.reason
    assert "70 rollouts with it, 30 without" in gone.reason


def test_a_pinned_entry_and_a_rewritten_one_stay():
    rewritten = Effect("G1", "Another text.", -4, -6, -2, 70, 30)
    gone = Effect("G99", "No longer there.", -4, -6, -2, 70, 30)
    assert prune(LIBRARY.pin("G0"), [effect(0, -4), rewritten, gone]) == []
