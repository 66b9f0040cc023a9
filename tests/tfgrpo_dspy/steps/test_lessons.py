"""Whether a lesson can stand in a library."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tfgrpo_dspy.scripted import Engine, script
from tests.tfgrpo_dspy.steps.test_optimisation import advantage, proposed
from tfgrpo_dspy.library.leaks import Known
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Delete, Modify
from tfgrpo_dspy.steps.lessons import Drawn, fault_of, faults_in, says_what_everybody_does

TASK = "question: Janet has 16 eggs and sells each for $25. She runs 3 sprints of 60 meters. What does she earn?"
DRAWN = Drawn((TASK,), ("540",))


def unseen(words):
    return f'it speaks of what its reader has not seen: "{words}"'


FINE = (
    "When a quantity is half of another one, add both where a total is asked for; do not give the half alone.",
    "When an increase of a percentage is told, take it of the value before the increase.",
    "When late, hurry.",
    "When a, do b.",
    "When the start is given, consider both conditions.",
    "When a process has conditions, compare them.",
    "When rewards differ, compare the outcome of each unit.",
    "When only the start is given, use the units of the outcome.",
    "When the first attempt to open a page fails, wait and try again; give up after 3 attempts.",
    "When a reward is promised for each sale, multiply it by the number of sales.",
    "When the entry of a ledger has no date, take that of the line above.",
)


@pytest.mark.parametrize("text", FINE)
def test_a_lesson_about_a_kind_of_task_stands(text):
    assert fault_of(text, DRAWN) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("When Janet sells eggs, multiply.", "it speaks of its own task: Janet"),
        ("When there are 16 eggs, multiply them.", "it speaks of its own task: 16"),
        ("When Jim runs 3 sprints of 60 meters, multiply.", "it speaks of its own task: 3, 60"),
        ("When eggs are sold, the answer is 540.", "it speaks of its own task: 540"),
        ("text{Total number of eggs} = 16 + 25", "it speaks of its own task: 16, 25"),
        ("When eggs are multiplied, 540 comes out.", "it speaks of its own task: 540"),
        ("When eggs are sold, multiply the", "it breaks off"),
        ("When it is asked what is left, as in attempts 1, 3, subtract.", unseen("attempts 1")),
        ("When unsure which to sell, do as the best attempt did.", unseen("best attempt")),
        ("One lesson to learn from these attempts is to subtract what is eaten.", unseen("these attempts")),
        ("When eggs are sold by the dozen, divide first, which earns a reward of 1.", unseen("reward of 1")),
        ("The lesson provides examples of how eggs are sold.", unseen("The lesson provides")),
        ("The present entries tell readers how eggs are sold.", unseen("The present entries tell")),
        (
            "When downloading a file that is too thin, it is better to boil it down without a lid.",
            "it tells of the example in the prompt",
        ),
        (
            "Remember to always double-check your calculations and use the correct formula",
            "it names no particular situation and nothing particular to do",
        ),
    ],
)
def test_a_lesson_is_left_out_with_a_reason_that_can_be_checked(text, why):
    fault = fault_of(text, DRAWN)
    assert fault is not None
    assert fault.why == why


EMPTY = (
    "When solving word problems with numbers in several steps, it is important to carefully read the question and "
    "understand what is being asked. Then use your knowledge of the given information to reason about the problem and "
    "arrive at the correct answer. It is also important to check your answer to ensure its accuracy.",
    "When solving a problem, check the calculation carefully.",
    "To solve word problems with numbers, it is important to carefully read the question and understand what is being "
    "asked before starting to solve it. It is also crucial to pay close attention to the instructions and to verify "
    "the answers using the correct formula.",
    "When working on a task, go step by step and verify each of the steps.",
)


@pytest.mark.parametrize("text", EMPTY)
def test_what_everybody_does_anyway_is_known_by_its_words(text):
    assert says_what_everybody_does(text)


@pytest.mark.parametrize("text", FINE)
def test_what_names_a_situation_is_not_taken_for_it(text):
    assert not says_what_everybody_does(text)


LESSON = "When eggs are sold by the dozen, divide by twelve first."
ENTRY = "When eggs are sold one by one, multiply by their price."
LEARNED = replace(advantage(0, LESSON), task=TASK)
KNOWN = Known((TASK,), (("540",),))
FAULTY = {
    "a name": "When Janet sells eggs by the dozen or one by one, divide or multiply.",
    "a number": "When there are 16 eggs, sold by the dozen or one by one, divide or multiply.",
    "an answer": "When eggs are sold by the dozen or one by one, the answer is 540.",
    "the group": "When eggs are sold by the dozen or one by one, do as attempt 2 did.",
    "no act": "When solving a problem, check the calculation carefully.",
    "no end": "When eggs are sold by the dozen or one by one, divide or multiply by the",
    "none": "(None)",
}


@pytest.mark.parametrize("text", FAULTY.values(), ids=FAULTY)
@pytest.mark.parametrize("op", ["add", "modify"])
def test_no_way_of_updating_lets_in_what_no_lesson_may_say_and_the_lesson_is_added_as_it_was(op, text):
    operation = {"op": op, "text": text, "sources": ["A0"]} | ({"id": "G0"} if op == "modify" else {})
    decided = {"thought": "so it is", "decision": "sharpens", "entry": "G0", "text": text}
    library = ExperienceLibrary.from_texts([ENTRY])
    for update, answer in (("batch", {"operations": [operation]}), ("each", decided)):
        engine = Engine(script(update=answer))
        made = proposed(engine, LEARNED, library=library, known=KNOWN, update=update)
        assert [(o.op, o.text, o.sources) for o in made.operations] == [("add", LESSON, ("A0",))]
        assert (made.carried, made.refusals, engine.calls) == ((), (), 3)


def test_a_faulty_text_of_an_update_is_asked_again_in_a_sentence_and_what_stands_beside_it_is_kept():
    def mended(asked):
        text = "When eggs are sold, 540 comes out." if "correction" not in asked.system else LESSON
        other = [{"op": "add", "text": "When it rains, hurry.", "sources": ["A1"]}] if "A1" in asked.user else []
        return {"operations": [{"op": "add", "text": text, "sources": ["A0"]}, *other]}

    engine = Engine(script(update=mended))
    made = proposed(engine, LEARNED, advantage(1, "When it rains, hurry."), known=KNOWN)
    assert [o.text for o in made.operations] == ["When it rains, hurry.", LESSON]
    assert engine.calls == 2
    assert engine.asked[1].field("correction").startswith('"When eggs are sold, 540 comes out.": It speaks of one task')


def test_a_deletion_goes_with_the_faulty_text_that_was_to_say_the_same_and_others_do_not():
    library = ExperienceLibrary.from_texts([ENTRY, "When late, hurry.", "When lost, ask."])
    faulty = Modify(id="G0", text="The best attempt hurried.", reason="both in one")
    merged = Delete(id="G1", reason="G0 says it")
    other = Delete(id="G2", reason="it misleads")
    assert list(faults_in([other, merged, faulty], library)) == [faulty, merged]
    labelled = {"A0": LEARNED, "A1": advantage(1)}
    cited = [o.model_copy(update={"sources": (label,)}) for o, label in ((merged, "A1"), (faulty, "A0"))]
    assert list(faults_in(cited, library, labelled, KNOWN)) == [cited[1]]


def test_what_an_entry_says_already_is_no_fault_of_a_text_that_says_it_better():
    theirs = ExperienceLibrary.from_texts(["When 16 or more eggs are bought, ask for a cheaper price."])
    better = Modify(id="G0", text="When 16 or more eggs are bought or sold, name a cheaper price.")
    worse = Modify(id="G0", text="When 16 or more eggs are bought of Janet, ask for a cheaper price.")
    assert list(faults_in([better, worse], theirs, {"A0": LEARNED}, KNOWN)) == [worse]
    assert list(faults_in([Add(text=better.text)], theirs, {"A0": LEARNED}, KNOWN)) == [Add(text=better.text)]
