"""Measured credit: what an experience does to the reward, from rollouts that read a random part of the library."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgrpo_dspy import ExperienceLibrary
from tfgrpo_dspy.credit.effects import Trial, effects_of, trials_of
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored

P = 0.3
Chance = Callable[[int, frozenset[str]], float]
"""Example and ids read -> chance of the reward 1."""


def library_of(count: int) -> ExperienceLibrary:
    return ExperienceLibrary.from_texts([f"When it is case {i}, do {i}." for i in range(count)])


def trials_with(chance: Chance, library: ExperienceLibrary, *, seed: int = 0, examples: int = 20, steps: int = 3):
    rng = random.Random(seed)
    texts = {e.id: e.text for e in library}
    made = []
    for step in range(1, steps + 1):
        for example in range(examples):
            for _ in range(5):
                withheld = frozenset(id for id in texts if rng.random() < P)
                reward = float(rng.random() < chance(example, frozenset(texts) - withheld))
                made.append(Trial(f"e{example}", step, reward, texts, withheld))
    return made


def by_id(effects: tuple[Effect, ...]) -> dict[str, Effect]:
    return {effect.id: effect for effect in effects}


def test_what_helps_and_what_harms_are_told_apart_from_what_does_nothing():
    def chance(example: int, read: frozenset[str]) -> float:
        return 0.5 + 0.25 * ("G0" in read) - 0.25 * ("G1" in read)

    library = library_of(6)
    effects = by_id(effects_of(trials_with(chance, library), library, P))
    assert effects["G0"].low > 0
    assert effects["G0"].low < 0.25 < effects["G0"].high
    assert effects["G1"].high < 0
    assert effects["G1"].low < -0.25 < effects["G1"].high
    assert all(effects[id].low < 0 < effects[id].high for id in ("G2", "G3", "G4", "G5"))


def test_problems_are_compared_with_themselves():
    library = library_of(3)
    trials = trials_with(lambda example, read: float(example % 2), library)
    assert effects_of(trials, library, P) == (), "each problem always earns the same"
    one_more = Trial("e0", 1, 1.0, trials[0].texts, frozenset({"G0"}))
    assert all(abs(effect.value) < 0.02 for effect in effects_of([*trials, one_more], library, P))


def test_an_observation_counts_for_the_text_that_was_read():
    old = library_of(2)
    new = ExperienceLibrary.from_texts(["When it is rewritten, do otherwise.", old["G1"].text])
    trials = trials_with(lambda example, read: 0.2 + 0.6 * ("G0" in read), old)
    later = [Trial(t.example, 4, t.reward, {e.id: e.text for e in new}, t.withheld) for t in trials[:40]]
    effects = by_id(effects_of([*trials, *later], new, P))
    assert effects["G0"].n_with + effects["G0"].n_without == len(later)
    assert effects["G1"].n_with + effects["G1"].n_without == len(trials) + len(later)
    assert [e.id for e in effects_of(trials, new, P)] == ["G1"], "nothing is known of a text that nobody read"


def test_what_every_rollout_read_has_no_effect_to_show():
    library = library_of(2)
    trials = [
        Trial(t.example, t.step, t.reward, t.texts, t.withheld - {"G0"})
        for t in trials_with(lambda example, read: 0.5, library)
    ]
    assert [e.id for e in effects_of(trials, library, P)] == ["G1"]
    assert effects_of([], library, P) == ()


def test_citations_say_where_an_experience_matters():
    """Ten entries, each of which decides 2 of 20 problems: a tenth of the reward at most."""

    def chance(example: int, read: frozenset[str]) -> float:
        return 0.85 if f"G{example % 10}" in read else 0.35

    def cited(trial: Trial) -> frozenset[str]:
        own = f"G{int(trial.example[1:]) % 10}"
        return frozenset({own}) - trial.withheld if trial.reward else frozenset()

    library = library_of(10)
    silent = trials_with(chance, library)
    told = [Trial(t.example, t.step, t.reward, t.texts, t.withheld, cited(t)) for t in silent]
    widths = [sum(e.high - e.low for e in effects_of(trials, library, P)) for trials in (told, silent)]
    assert widths[0] < widths[1] / 2
    assert all(e.low < 0.05 < e.high for e in effects_of(told, library, P))


def test_what_only_losers_cite_is_not_held_to_harm():
    """Every entry is cited exactly by the rollouts that failed, and none has an effect."""
    found = 0
    for seed in range(20):
        library = library_of(10)
        trials = trials_with(lambda example, read: 0.5, library, seed=seed)
        blamed = [
            Trial(t.example, t.step, t.reward, t.texts, t.withheld, frozenset(t.texts) - t.withheld)
            if not t.reward
            else t
            for t in trials
        ]
        found += sum(e.high < 0 for e in effects_of(blamed, library, P))
    assert found <= 0.05 * 20 * 10


def test_intervals_hold_the_truth_as_often_as_they_say():
    missed = 0
    for seed in range(20):
        library = library_of(10)
        trials = trials_with(lambda example, read: 0.3 + 0.02 * len(read) + example / 50, library, seed=seed)
        missed += sum(not e.low <= 0.02 <= e.high for e in effects_of(trials, library, P))
    assert missed <= 0.1 * 20 * 10


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(1, 2),
            st.floats(-10, 10),
            st.frozensets(st.sampled_from(["G0", "G1", "G2"])),
            st.frozensets(st.sampled_from(["G0", "G1", "G2"])),
        ),
        max_size=30,
    ),
    st.floats(0.05, 0.95),
)
def test_any_trials_give_intervals_around_values_and_true_counts(rows, dropout):
    library = library_of(3)
    texts = {e.id: e.text for e in library}
    trials = [Trial(f"e{e}", s, reward, texts, withheld, cited) for e, s, reward, withheld, cited in rows]
    effects = effects_of(trials, library, dropout)
    assert all(e.low <= e.value <= e.high for e in effects)
    assert all(e.n_without == sum(e.id in t.withheld for t in trials) for e in effects)
    assert all(e.n_with + e.n_without == len(trials) for e in effects)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.floats(-5, 5), st.floats(0.1, 10))
def test_another_zero_or_unit_of_the_reward_changes_nothing_but_the_unit(seed, zero, unit):
    library = library_of(4)
    trials = trials_with(lambda example, read: 0.2 + 0.5 * ("G2" in read), library, seed=seed, steps=1)
    moved = [Trial(t.example, t.step, zero + unit * t.reward, t.texts, t.withheld) for t in trials]
    for before, after in zip(effects_of(trials, library, P), effects_of(moved, library, P), strict=True):
        assert after.value == pytest.approx(unit * before.value, rel=1e-3, abs=1e-6 * unit)
        assert after.z == pytest.approx(before.z, rel=1e-3, abs=1e-4)


def test_trials_are_the_scored_rollouts_with_what_they_read_and_cited():
    library = library_of(3)
    made = Scored("s2/e7/r0", 1.0, "", "I follow [G0] and [G1], not [G9].", "", 0, Usage(), 0.0, withheld=("G1",))
    lost = Lost("s2/e7/r1", "infrastructure", "timeout", Usage(), 0.0)
    (trial,) = trials_of([Group("s2/e7", None, (made, lost))], library, 2)
    assert (trial.example, trial.step, trial.reward) == ("e7", 2, 1.0)
    assert (trial.withheld, trial.cited) == ({"G1"}, {"G0"})
    assert trial.texts == {e.id: e.text for e in library}
