"""Keeping a run's library within `max_library_tokens`: condensed first, then trimmed, and never in silence."""

from __future__ import annotations

from functools import partial

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples
from tfgrpo_dspy import ExperienceLibrary, TrainingFreeGRPO, history_of
from tfgrpo_dspy.library.section import tokens_of
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

START = ExperienceLibrary.from_texts(
    [
        "When the first kind of task comes, go slowly and look twice at each of its many parts before answering.",
        "When the first kind of task comes, go slowly and look twice at each of its many pieces before you answer.",
        "When quite another thing is wanted, begin at the end.",
    ]
)
BOUND = 40


def compiled(condense, library=START, **settings):
    """A run in which one answer of a group wins and the update keeps everything."""
    answers = iter("10" * 50)

    def script(asked):
        if "alike" in asked.user and "operations" in asked.outputs:
            return condense(asked)
        if "operations" in asked.outputs:
            return {"operations": [{"op": "keep", "id": None}]}
        if "comparison" in asked.outputs:
            return {"comparison": "one won", "lesson": "When it rains, take a coat.", "misled_by": "none"}
        if "summary" in asked.outputs:
            return {"summary": "went well"}
        return dict.fromkeys(asked.outputs, "because") | {"answer": next(answers)}

    engine = Engine(script)
    more = {"epochs": 1, "group_size": 2, "num_threads": 1, "display_progress": False, "retries": 0, "update": "batch"}
    optimizer = TrainingFreeGRPO(exact, library=library, **{"max_library_tokens": BOUND, **more, **settings})
    with dspy.context(lm=engine.lm()):
        return optimizer.compile(dspy.Predict("question -> answer"), examples(1)).detailed_results


def trimmed(result):
    return [change for change in result.steps[0].changes if change.by == "trim"]


MERGE = {
    "operations": [
        {"op": "modify", "id": "G0", "text": "When the first kind of task comes, look twice.", "reason": "both in one"},
        {"op": "delete", "id": "G1", "reason": "G0 says it"},
    ]
}


def test_near_duplicates_are_proposed_and_what_the_updater_makes_of_them_is_part_of_the_step():
    asked = []

    def condense(prompt):
        asked.append(prompt)
        return MERGE

    result = compiled(condense)
    assert asked[0].field("alike") == "[G0] and [G1]"
    assert asked[0].field("limits").startswith(f"at most {BOUND} tokens in all (now {START.tokens})")
    assert [e.id for e in result.library] == ["G0", "G2"]
    assert result.library.tokens <= BOUND
    commits = history_of(result).commits
    assert [(c.author, c.step, c.summary) for c in commits[1:]] == [("updater", 1, "1 changed, 1 deleted")]
    assert {change.by for change in result.steps[0].changes if change.kind != "keep"} == {"condense"}
    assert {c.id: c.reason for c in commits[-1].changes} == {"G0": "both in one", "G1": "G0 says it"}
    assert history_of(result).at(1) == result.library
    assert result.steps[0].usage.lm_calls == 2 + 2 + 1 + 1 + 1


def test_what_still_exceeds_the_bound_is_taken_out_with_a_reason():
    result = compiled(lambda asked: {"operations": []})
    assert result.library.tokens <= BOUND
    assert [c.id for c in trimmed(result)] == ["G2", "G1"]
    assert all("at most 40 are allowed" in c.reason for c in trimmed(result))


def test_a_merger_into_a_text_that_cannot_stand_is_asked_again_and_else_neither_entry_is_lost_to_it():
    asked = []
    faulty = [{**MERGE["operations"][0], "text": "These attempts looked twice."}, MERGE["operations"][1]]

    def condense(prompt, *, mends):
        asked.append(prompt.field("correction"))
        return MERGE if mends and asked[-1] else {"operations": faulty}

    mended = compiled(partial(condense, mends=True), retries=1)
    assert [e.id for e in mended.library] == ["G0", "G2"]
    assert 'It speaks of "These attempts"' in asked[-1]
    kept = compiled(partial(condense, mends=False), retries=1, max_library_tokens=START.tokens - 1)
    assert {change.by for change in kept.steps[0].changes if change.kind != "keep"} == {"trim"}


def test_a_reply_that_makes_it_longer_or_cannot_be_used_leaves_trimming():
    longer = {"operations": [{"op": "modify", "id": "G2", "text": f"When so, {'do more and ' * 9}go."}]}
    for condense in (lambda asked: longer, lambda asked: "no JSON at all"):
        result = compiled(condense, max_errors=5)
        assert [c.kind for c in trimmed(result)] == ["delete", "delete"]
        assert result.library.tokens <= BOUND
    assert [f.remedy for f in result.steps[0].failures] == ["entries were taken out instead"]


def test_a_run_that_is_taken_up_again_does_not_condense_twice(tmp_path):
    asked = []

    def condense(prompt):
        asked.append(prompt)
        return MERGE

    libraries = [compiled(condense, log_dir=tmp_path).library for _ in range(2)]
    assert libraries[0] == libraries[1]
    assert len(asked) == 1


def test_pinned_entries_are_left_alone():
    result = compiled(lambda asked: MERGE, library=START.pin("G1"))
    assert START["G1"].text in [e.text for e in result.library]


def test_the_students_own_tokenizer_decides():
    result = compiled(lambda asked: MERGE, count_tokens=lambda text: len(text.split()), max_library_tokens=1000)
    assert [c for c in result.steps[0].changes if c.by != "update"] == []
    result = compiled(lambda asked: {"operations": []}, count_tokens=len)
    assert len(result.library) == 0, "every entry has more than 40 characters"


@pytest.fixture(scope="module")
def demo():
    def learned(most):
        with dspy.context(lm=simulated_lm(0, cache=False)):
            optimizer = TrainingFreeGRPO(
                number, epochs=1, num_threads=2, display_progress=False, max_library_tokens=most
            )
            return optimizer.compile(make_solver(), demo_examples(48, 0))

    return learned(None), learned(500)


def test_at_500_tokens_the_demo_keeps_its_insights(demo):
    from tfgrpo_dspy.simulated.understanding import meaning

    free, bounded = (program.experience_library for program in demo)
    assert tokens_of(free) > 800
    assert tokens_of(bounded) <= 500
    said = [{(s.family, s.fork) for e in library for s in meaning(e.text)} for library in (free, bounded)]
    assert len(said[0] & said[1]) >= 0.8 * len(said[0])
