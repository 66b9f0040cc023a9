"""The update as many small questions: one per candidate, of bounded size, side by side, and none lost."""

from __future__ import annotations

import pytest
from dspy import lm15

from tests.tfgrpo_dspy.scripted import Asked, Engine, script
from tests.tfgrpo_dspy.steps.test_optimisation import LIBRARY, advantage, proposed
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Keep, Modify

RAIN = "When heavy rain is forecast for a walk, take a waterproof coat."
WIND = "When strong wind is forecast for a walk, take a waterproof coat and leave the umbrella."


def placed(engine: Engine, *advantages, **settings):
    return proposed(engine, *advantages, update="each", **settings)


def answering(decision: str, entry: str = "none", text: str = "none"):
    return {"thought": "because of this", "decision": decision, "entry": entry, "text": text}


def test_a_candidate_that_is_near_to_nothing_costs_one_short_question():
    engine = Engine(script())
    update = placed(engine, advantage(4, "When baking bread, weigh the flour."))
    assert [(o.text, o.sources) for o in update.operations] == [("When baking bread, weigh the flour.", ("A0",))]
    (asked,) = engine.asked
    assert asked.outputs == ("decision",)
    assert asked.field("entries") == ""


@pytest.mark.parametrize(
    ("answer", "operation"),
    [
        (answering("new"), Add(text=WIND, reason="because of this", sources=("A0",))),
        (answering("said already", "G1"), Keep(id="G1", reason="because of this", sources=("A0",))),
        (
            answering("sharpens", "[G1]", "Both."),
            Modify(id="G1", text="Both.", reason="because of this", sources=("A0",)),
        ),
        (
            answering("corrects", "entry G1.") | {"holds": "the lesson"},
            Modify(id="G1", text=WIND, reason="because of this", sources=("A0",)),
        ),
        (answering("sharpens", "G1", "none"), Add(text=WIND, reason="because of this", sources=("A0",))),
        (
            answering("sharpens", "G1", "The lesson tells what to wear."),
            Add(text=WIND, reason="because of this", sources=("A0",)),
        ),
    ],
)
def test_what_is_decided_about_it_becomes_an_operation(answer, operation):
    library = ExperienceLibrary.from_texts(["When baking bread, weigh the flour.", RAIN])
    engine = Engine(script(update=answer))
    assert placed(engine, advantage(4, WIND), library=library).operations == (operation,)
    assert engine.asked[0].field("entries") == f"[G1] {RAIN}", "what is not near is not shown"


@pytest.mark.parametrize(
    ("holds", "text", "operation", "fate"),
    [
        ("the lesson", "none", Modify(id="G0", text=WIND, reason="because of this", sources=("A0",)), "corrected"),
        ("the entry", "none", None, "refused"),
        (
            *("each in its own cases", "Both entries tell what to wear."),
            *(Modify(id="G0", text=WIND, reason="because of this", sources=("A0",)), "corrected"),
        ),
        ("each in its own cases", "Both.", Modify(id="G0", text="Both.", reason="so", sources=("A0",)), None),
    ],
)
def test_a_lesson_and_the_entry_that_it_contradicts_are_both_shown_before_one_of_them_goes(
    holds, text, operation, fate
):
    said = answering("corrects", "G0") | {"thought": "because of this"}
    settled = {"thought": "so", "holds": holds, "text": text}
    engine = Engine(script(update=lambda asked: settled if "holds" in asked.outputs else said))
    update = placed(engine, advantage(4, WIND), library=ExperienceLibrary.from_texts([RAIN]))
    assert update.operations == ((operation,) if operation is not None else ())
    assert [(f.became, f.id) for f in update.decided] == ([(fate, "G0")] if fate else [])
    assert (engine.asked[1].field("entries"), engine.asked[1].field("lesson")) == (f"[G0] {RAIN}", WIND)


def test_an_entry_that_is_not_shown_is_asked_for_again_by_the_ids_that_are():
    library = ExperienceLibrary.from_texts([RAIN, RAIN.replace("walk", "ride on a bicycle")])
    replies = iter([answering("said already", "G9"), answering("said already", "G1")])
    engine = Engine(script(update=lambda asked: next(replies)))
    assert [o.id for o in placed(engine, advantage(4, WIND), library=library).operations] == ["G1"]
    assert "one of G0, G1" in engine.asked[1].field("correction")


def test_what_says_nothing_is_left_out_with_the_reason():
    update = placed(Engine(script(update={"decision": "says nothing"})), advantage(4, "Check the result."))
    assert update.operations == ()
    assert [(f.text, f.became) for f in update.decided] == [("Check the result.", "refused")]


def test_candidates_that_are_alike_are_asked_about_one_after_the_other_and_see_what_became_of_those_before():
    def alike(asked: Asked):
        return answering("sharpens", "G3", "Both.") if "[G3]" in asked.user else answering("new")

    engine = Engine(script(update=alike))
    update = placed(engine, advantage(1, RAIN), advantage(2, WIND))
    assert [(o.text, o.sources) for o in update.operations] == [("Both.", ("A0", "A1"))]
    assert isinstance(update.operations[0], Add)


def test_candidates_in_the_same_words_cost_one_question():
    engine = Engine(script())
    update = placed(engine, *(advantage(i, RAIN) for i in range(6)))
    assert engine.calls == 1
    assert [(o.op, len(o.sources)) for o in update.operations] == [("add", 6)]


def test_two_that_change_one_entry_are_asked_about_again_the_second_on_what_the_first_made_of_it():
    flour = "When baking bread for guests, weigh the flour, then take a waterproof coat."
    library = ExperienceLibrary.from_texts([RAIN])

    def sharpens(asked: Asked):
        return answering("sharpens", "G0", f"{asked.field('entries')[5:]} {asked.field('lesson')[5:12]}")

    engine = Engine(script(update=sharpens))
    update = placed(engine, advantage(1, WIND), advantage(2, flour), library=library)
    (modify,) = update.operations
    assert modify.sources == ("A0", "A1")
    assert modify.text.split() == [*RAIN.split(), "strong", "baking"]
    assert engine.calls == 3
    assert update.refusals == ()


@pytest.mark.parametrize("reply", ["", "I do not know.", lm15.ServerError("busy")])
def test_a_candidate_about_which_nothing_can_be_had_is_carried_alone(reply):
    def one_fails(asked: Asked):
        return reply if "bread" in asked.field("lesson") else {"decision": "new"}

    given = advantage(4, "When baking bread, weigh the flour.", "When it freezes, salt the steps.")
    update = placed(Engine(script(update=one_fails)), given)
    assert [o.text for o in update.operations] == ["When it freezes, salt the steps."]
    assert [a.experiences for a in update.carried] == [("When baking bread, weigh the flour.",)]
    assert [f.stage for f in update.failures] == ["update"]


def test_no_prompt_grows_with_the_library_or_the_batch():
    def longest(entries: int, candidates: int) -> int:
        engine = Engine(script())
        texts = [f"When heavy rain falls on path {i}, take a waterproof coat of kind {i * 7}." for i in range(entries)]
        many = [advantage(i, f"When rain falls on hill {i}, take coat {i}.") for i in range(candidates)]
        placed(engine, *many, library=ExperienceLibrary.from_texts(texts))
        return max(len(asked.user) + len(asked.system) for asked in engine.asked)

    assert longest(2_000, 12) <= longest(20, 2) * 1.2


def test_a_pinned_entry_stays_and_the_lesson_that_sharpens_it_stands_beside_it():
    library = ExperienceLibrary.from_texts([RAIN]).pin("G0")
    update = placed(Engine(script(update=answering("sharpens", "G0", "Both."))), advantage(1, WIND), library=library)
    assert [o.text for o in update.operations] == [WIND]


def test_a_text_that_speaks_of_the_lesson_is_asked_again_for_what_it_says():
    replies = iter(["The lesson tells what to wear.", "Both."])
    engine = Engine(script(update=lambda asked: answering("sharpens", "G0", next(replies))))
    update = placed(engine, advantage(4, WIND), library=ExperienceLibrary.from_texts([RAIN]))
    assert [o.text for o in update.operations] == ["Both."]
    assert 'It speaks of "The lesson tells"' in engine.asked[1].field("correction")


def test_a_text_that_holds_both_and_is_too_long_is_asked_to_be_shortened_and_kept_if_it_is_not():
    long = " ".join(f"word{i}" for i in range(12))
    engine = Engine(script(update=answering("sharpens", "G0", long)))
    update = placed(engine, advantage(1, WIND), library=ExperienceLibrary.from_texts([RAIN]), max_words=10)
    assert [o.text for o in update.operations] == [long]
    assert "It has 12 words. Say it in one sentence of at most 10 words." in engine.asked[1].field("correction")


def test_the_library_to_start_from_is_untouched_where_nothing_is_new():
    update = placed(Engine(script(update=answering("says nothing"))), advantage(1, "When lost, ask around."))
    assert update.operations == ()
    assert update.library == LIBRARY
