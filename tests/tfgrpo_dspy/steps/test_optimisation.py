"""Step 3: all advantages of a batch become operations, or are carried."""

from __future__ import annotations

import pytest
from dspy import lm15

from tests.tfgrpo_dspy.scripted import Asked, Engine, add_all, script
from tfgrpo_dspy.library.leaks import Known
from tfgrpo_dspy.library.library import ExperienceLibrary, Source
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.updates import Proposal
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.optimisation import propose
from tfgrpo_dspy.steps.reflection import Reflection

LIBRARY = ExperienceLibrary.from_texts(["When lost, ask.", "When sure, check.", "When late, hurry."])


def advantage(number: int, *experiences: str, comparison: str = "it looked twice") -> SemanticAdvantage:
    name = f"s1/e{number}"
    return SemanticAdvantage(
        name, f"question: q{number}?", (), comparison, experiences, Source(f"e{number}", (f"{name}/r0",))
    )


def proposed(
    engine: Engine,
    *advantages: SemanticAdvantage,
    library=LIBRARY,
    announced=None,
    lm=None,
    step=1,
    known=Known(),  # noqa: B008 - frozen
    **settings,
):
    reflection = Reflection(lm or engine.lm(), settings.get("retries", 2))
    settled = Settings(**{"update": "batch", **settings})
    briefing = Briefing("answer well", library, settled, step, reflection, known=known)
    with Workers(1, (lambda e: None) if announced is None else announced.append) as workers:
        return propose(list(advantages), briefing, workers)


def test_all_advantages_of_the_batch_are_shown_in_one_prompt_and_cited_by_label():
    engine = Engine(script())
    update = proposed(engine, advantage(4, "When a, b."), advantage(9, "When c, d.", "When e, f."))
    assert engine.calls == 1
    asked = engine.asked[0]
    assert asked.field("experiences") == "[G0] When lost, ask.\n[G1] When sure, check.\n[G2] When late, hurry."
    assert "A0 (task: question: q4?)" in asked.field("advantages")
    assert [(o.text, o.sources) for o in update.operations] == [
        ("When a, b.", ("A0",)),
        ("When c, d.", ("A1",)),
        ("When e, f.", ("A1",)),
    ]
    assert update.sources == {"A0": Source("e4", ("s1/e4/r0",)), "A1": Source("e9", ("s1/e9/r0",))}
    assert (update.carried, update.failures) == ((), ())


def test_all_four_operations_come_back_typed():
    operations = [
        {"op": "add", "text": "When x, y."},
        {"op": "modify", "id": "G0", "text": "When lost, ask twice."},
        {"op": "delete", "id": "G1"},
        {"op": "keep"},
    ]
    update = proposed(Engine(script(update={"operations": operations})), advantage(1, "When x, y."))
    assert [type(o) for o in update.operations] == [Delete, Modify, Add, Keep]


@pytest.mark.parametrize("advantages", [(), (advantage(1),)])
def test_without_any_candidate_for_an_empty_library_nothing_is_asked(advantages):
    engine = Engine(script())
    assert proposed(engine, *advantages, library=ExperienceLibrary()).operations == ()
    assert engine.calls == 0


def test_without_any_advantage_nothing_is_asked():
    engine = Engine(script())
    assert proposed(engine) == Proposal(LIBRARY, limits=Settings().limits)
    assert engine.calls == 0


def test_a_comparison_without_candidates_may_still_change_a_library():
    engine = Engine(script(update={"operations": [{"op": "delete", "id": "G0"}]}))
    assert proposed(engine, advantage(1)).operations == (Delete(id="G0", sources=("A0",)),)


def test_an_operation_that_does_not_validate_is_asked_again_with_the_reason():
    def mended(asked: Asked):
        ok = "correction" in asked.system
        return {"operations": [{"op": "delete", "id": "G0"} if ok else {"op": "delete", "text": "that one"}]}

    engine = Engine(script(update=mended))
    assert proposed(engine, advantage(1, "When a, b.")).operations == (Delete(id="G0", sources=("A0",)),)
    assert engine.asked[-1].field("correction") == 'It does not say which entry to delete: "delete that one".'


def test_an_over_long_text_is_asked_again_and_what_stays_over_long_is_kept():
    engine = Engine(script(update={"operations": [{"op": "add", "text": "one two three four five six"}]}))
    update = proposed(engine, advantage(1, "When a, b."), max_words=5)
    assert engine.calls == 3
    assert engine.asked[1].field("correction") == (
        '"one two three four five six": It has 6 words. Say it in one sentence of at most 5 words.'
    )
    assert [o.text for o in update.operations] == ["one two three four five six"]
    assert update.refusals == ()


@pytest.mark.parametrize(
    "reply",
    [
        "nonsense",
        {"operations": [{"op": "polish", "text": "When a, b."}]},
        lm15.ServerError("busy"),
        lm15.ContextLengthError("no"),
    ],
)
def test_a_failed_update_carries_all_its_advantages_and_says_so(reply):
    engine, announced = Engine(script(update=reply)), []
    given = advantage(1, "When a, b."), advantage(2)
    update = proposed(engine, *given, announced=announced)
    assert (update.operations, update.carried) == ((), given)
    assert [(f.stage, f.where) for f in update.failures] == [("update", "s1")]
    assert "carried to the next step" in update.failures[0].remedy
    assert [failure for e in announced for failure in e.made.failures] == list(update.failures)
    assert update.usage.lm_calls == engine.calls


def test_an_update_that_outgrows_the_context_window_is_asked_with_shorter_comparisons_and_every_candidate():
    def small(asked: Asked):
        return lm15.ContextLengthError("too long") if len(asked.user) > 20_000 else add_all(asked)

    engine = Engine(script(update=small))
    many = [advantage(i, f"When {i}, do {i}.", comparison="z" * 20_000) for i in range(8)]
    assert len(proposed(engine, *many).operations) == 8


def test_the_limits_of_the_library_and_what_is_pinned_are_said():
    engine = Engine(script())
    proposed(engine, advantage(1, "When a, b."), library=LIBRARY.pin("G1"), max_experiences=5, max_library_tokens=99)
    said = engine.asked[0].field("limits")
    for part in ("at most 32 words", "at most 5 entries (now 3)", "at most 99 tokens (now", "not to be changed: G1"):
        assert part in said


def test_carried_alone_into_the_next_step_they_are_asked_anew_not_answered_from_the_cache():
    engine = Engine(script(update=lambda asked: add_all(asked) if engine.calls > 1 else "nonsense"))
    lm = engine.lm(cache=True, seed=None)
    failed = proposed(engine, advantage(1, "When a, b."), lm=lm, retries=0)
    assert failed.carried
    assert proposed(engine, *failed.carried, lm=lm, retries=0, step=2).operations
