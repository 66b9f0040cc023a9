"""The families of tasks for agents: what they ask, how they are solved, and what advice means for them."""

from __future__ import annotations

import contextlib
import io
from itertools import product

import pytest

from tfgrpo_dspy.simulated.families import ALL_FAMILIES, BROWSING, CODING, FAMILIES, show
from tfgrpo_dspy.simulated.families.habits import SHAPELESS
from tfgrpo_dspy.simulated.reflection import COMMONPLACES
from tfgrpo_dspy.simulated.tips import TIPS
from tfgrpo_dspy.simulated.understanding import family_of, meaning, stances
from tfgrpo_dspy.simulated.world import make_problems, recognise

AGENTS = (*CODING, *BROWSING)
FORKS = [(family, fork) for family in AGENTS for fork in family.forks]
IDS = [f"{family.name}: {fork.name}" for family, fork in FORKS]


def sides(said):
    return {(stance.family, stance.fork, stance.helps) for stance in said}


def printed(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    return out.getvalue().strip()


@pytest.mark.parametrize(("family", "fork"), FORKS, ids=IDS)
def test_every_wording_is_understood_as_its_own_side_of_its_own_fork(family, fork):
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
    turned = meaning(f"When {family.kinds[0]}, {fork.wrong[0]}; do not {fork.right[0]}.")
    assert (family.name, fork.name, False) in sides(turned)


def test_a_family_is_known_by_each_of_its_descriptions_and_no_two_share_a_name():
    assert all(family_of(kind) is family for family in AGENTS for kind in family.kinds)
    assert len({family.name for family in ALL_FAMILIES}) == len(ALL_FAMILIES)


def test_what_is_said_about_the_demo_world_says_nothing_about_agents():
    agents = {family.name for family in AGENTS}
    said = [f"When {f.kinds[0]}, {fork.right[0]}; do not {fork.wrong[0]}." for f in FAMILIES for fork in f.forks]
    assert not [text for text in (*said, *COMMONPLACES, *TIPS) if any(s.family in agents for s in meaning(text))]


@pytest.mark.parametrize("family", CODING, ids=lambda family: family.name)
def test_the_code_of_a_family_prints_what_it_is_solved_to_the_right_way_and_the_wrong(family):
    for problem in make_problems(4, 3, "train", [family]):
        found, numbers = recognise(problem.question, CODING)
        assert found is family
        assert printed(family.code(numbers, frozenset())) == problem.answer
        for fork in family.forks:
            if fork.name not in SHAPELESS:
                wrong = frozenset({fork.name})
                assert printed(family.code(numbers, wrong)) == show(family.solve(numbers, wrong).answer)
                assert printed(family.code(numbers, wrong)) != problem.answer


def test_every_phrasing_of_every_family_is_read_back():
    for family in CODING:
        assert all(recognise(p.question, CODING)[0] is family for p in make_problems(24, 0, "test", [family]))
    assert recognise("How many integers are there?", (*CODING, *BROWSING)) is None
