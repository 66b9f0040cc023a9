from __future__ import annotations

from itertools import product

import pytest

from tfgrpo_dspy.simulated.families import FAMILIES
from tfgrpo_dspy.simulated.ideas import likeness, take_apart
from tfgrpo_dspy.simulated.reflection import COMMONPLACES
from tfgrpo_dspy.simulated.tips import TIPS
from tfgrpo_dspy.simulated.understanding import family_of, is_about, meaning, stances

FORKS = [(family, fork) for family in FAMILIES for fork in family.forks]
IDS = [f"{family.name}: {fork.name}" for family, fork in FORKS]


def sides(said):
    return {(stance.family, stance.fork, stance.helps) for stance in said}


@pytest.mark.parametrize(("family", "fork"), FORKS, ids=IDS)
def test_every_wording_of_a_step_is_understood_as_its_own_side_of_its_own_fork(family, fork):
    for wording in fork.right:
        assert sides(stances(wording, family.name)) == {(family.name, fork.name, True)}
    for wording in fork.wrong:
        assert sides(stances(wording, family.name)) == {(family.name, fork.name, False)}


@pytest.mark.parametrize(("family", "fork"), FORKS, ids=IDS)
def test_advice_made_of_those_wordings_helps_its_fork_and_misleads_none(family, fork):
    for kind, right, wrong in product(family.kinds, fork.right, fork.wrong):
        said = sides(meaning(f"When {kind}, {right}; do not {wrong}."))
        assert (family.name, fork.name, True) in said
        assert not [point for point in said if not point[2]]


@pytest.mark.parametrize(("family", "fork"), FORKS, ids=IDS)
def test_advice_the_wrong_way_round_misleads(family, fork):
    said = meaning(f"When {family.kinds[0]}, {fork.wrong[0]}; do not {fork.right[0]}.")
    assert (family.name, fork.name, False) in sides(said)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_known_by_each_of_its_descriptions(family):
    assert all(family_of(kind) is family for kind in family.kinds)


@pytest.mark.parametrize(
    ("text", "family", "fork"),
    [
        ("For successive percentage changes, each change acts on the updated value.", "percent up and down", "base"),
        ("If a round trip has two speeds, never average the speeds.", "average speed", "mean"),
        ("When poles are evenly spaced, don't forget to add one to the number of gaps.", "posts along a line", "ends"),
        ("Use the harmonic mean when average speed over equal distances is wanted.", "average speed", "mean"),
        ("When merging group averages, use weights according to group size.", "combined average", "equal"),
        ("[G3] When sides of a shape scale, its area goes with the squared factor.", "scaled area", "linear"),
        ("Round up to whole vehicles whenever people must fit into buses.", "filling vehicles", "round"),
    ],
)
def test_free_wordings_with_the_right_ideas_are_understood(text, family, fork):
    assert (family, fork, True) in sides(meaning(text))


def test_a_condition_about_another_kind_of_task_keeps_advice_from_counting():
    advice = "When a trip goes out at one speed and back at another, apply each percentage to the current amount."
    assert is_about(advice, "average speed")
    assert not is_about(advice, "percent up and down")


def test_advice_without_a_condition_counts_for_every_family():
    assert is_about("Apply each percentage to the current amount.", "percent up and down")


@pytest.mark.parametrize("text", COMMONPLACES)
def test_commonplaces_mean_nothing(text):
    assert not meaning(text)


def test_of_the_tips_some_address_a_trap_some_mislead_and_most_do_neither():
    helping = [tip for tip in TIPS if any(stance.helps for stance in meaning(tip))]
    misleading = [tip for tip in TIPS if any(not stance.helps for stance in meaning(tip))]
    assert (len(helping), len(misleading), len(TIPS)) == (4, 2, 15)


@pytest.mark.parametrize(
    ("text", "condition", "wanted", "unwanted"),
    [
        ("When it rains, take an umbrella, not a hat.", "it rains", "take an umbrella", "a hat"),
        ("Take an umbrella instead of a hat when it rains", "it rains", "Take an umbrella", "a hat"),
        ("Never forget to knock.", "", "remember to knock", ""),
        ("- Do not run; walk slowly.", "", "walk slowly", "run"),
    ],
)
def test_advice_is_taken_apart_into_condition_wanted_and_unwanted(text, condition, wanted, unwanted):
    said = take_apart(text)
    assert said.condition == condition
    assert wanted in said.wanted
    assert unwanted in said.unwanted
    assert not unwanted or unwanted not in said.wanted


def test_likeness_is_by_the_meaningful_words():
    assert likeness("Check the result.", "check a result") == 1.0
    assert likeness("Check the result.", "Draw a table.") == 0.0
    assert likeness("", "") == 1.0
