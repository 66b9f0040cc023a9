"""Where an experience should show an effect: its own tasks first, then those like them."""

from __future__ import annotations

from tfgrpo_dspy.credit.likeness import Likeness
from tfgrpo_dspy.library.experience import Experience, Provenance, Source

TASKS = {
    "e0": "Two discounts of 10 percent are taken off a price of 50 dollars.",
    "e1": "A price of 80 dollars is discounted twice, by 20 and by 30 percent.",
    "e2": "Trains start 120 miles apart and approach.",
    "e3": "A train drives 90 miles in two hours.",
    "e4": "How many posts does a fence of 30 feet need?",
    "e5": "A garden is enclosed by a fence with a post every 3 feet.",
}
LIKENESS = Likeness(TASKS)


def entry(text: str, *sources: str) -> Experience:
    return Experience("G0", text, provenance=Provenance(sources=tuple(Source(name) for name in sources)))


def test_the_task_that_it_was_learned_from_counts_most_and_those_like_it_next():
    where = LIKENESS.reach(
        entry("When a price is discounted again, take the second off the reduced price.", "e0")
    ).where
    assert where["e0"] == 1.0
    assert where["e1"] > where.get("e2", 0.0)
    assert "e4" not in where


def test_without_a_source_its_words_say_where_it_applies():
    where = LIKENESS.reach(entry("When a fence is built, count one post more than gaps.")).where
    assert max(where, key=where.__getitem__) in {"e4", "e5"}


def test_a_text_that_says_nothing_of_its_tasks_is_general():
    assert LIKENESS.reach(entry("Check the calculation once more.", "e2")).is_general
    assert not LIKENESS.reach(entry("When trains approach, add their speeds.", "e2")).is_general


def test_what_shares_no_word_with_any_task_should_show_everywhere_alike():
    reach = LIKENESS.reach(entry("Überprüfe das Ergebnis."))
    assert reach.is_general
    assert reach.where == dict.fromkeys(TASKS, 1.0)


def test_a_source_of_an_earlier_run_names_none_of_these_tasks():
    told = Likeness(TASKS, known=[Source("e4")])
    assert told.reach(entry("When trains meet, add speeds.", "e4")).where.get("e4", 0.0) < 1.0
