"""The site of the web agent's world."""

from __future__ import annotations

import pytest

from tfgrpo_dspy.simulated.agents.site import make_pdf, make_site, site_problems
from tfgrpo_dspy.simulated.families import BROWSING
from tfgrpo_dspy.simulated.world import recognise


def test_the_same_seed_makes_the_same_site_and_another_seed_another():
    assert make_site(0) == make_site(0)
    assert make_site(0) != make_site(1)


def test_questions_are_balanced_and_no_split_has_one_of_the_other():
    train, test = site_problems(60, 0), site_problems(60, 0, "test")
    assert not {p.question for p in train} & {p.question for p in test}
    assert len({p.question for p in train}) == 60
    assert {[p.family for p in train].count(f.name) for f in BROWSING} == {12}
    assert site_problems(60, 0) == train != site_problems(60, 1)


def test_more_questions_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"the site has \d+ train questions, not 1000; ask for fewer"):
        site_problems(1000, 0)


def test_every_question_is_read_back_and_its_answer_stands_on_a_page():
    said = b"\n".join(page.body for page in make_site(0).values()).decode("ascii")
    for problem in site_problems(100, 2):
        family, _ = recognise(problem.question, BROWSING)
        assert family.name == problem.family
        facts = family.facts_for(family.fields(problem.question))
        found = {group for match in facts.of_asked.finditer(said) for group in match.groups() if group}
        assert problem.answer in found
        assert len(found) > 1 or family.name == "contact detail", "another, worse answer is on the site as well"


def test_a_pdf_is_read_back():
    pypdf = pytest.importorskip("pypdf")
    import io

    text = pypdf.PdfReader(io.BytesIO(make_pdf(["One line.", "In (round) brackets."]))).pages[0].extract_text()
    assert text.splitlines() == ["One line.", "In round brackets."]
