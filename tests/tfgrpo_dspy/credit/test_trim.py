"""Which entries go when a library exceeds its bound on tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.made_events import effect_on
from tfgrpo_dspy import Experience, ExperienceLibrary, Provenance, Settings, SettingsError, Source
from tfgrpo_dspy.credit.trim import alike_pairs, trim
from tfgrpo_dspy.library.section import tokens_of

A_TEXT = "When a task of kind {} comes, take the path of kind {}."


def entry(number, step=1, groups=1, *, pinned=False):
    sources = tuple(Source(f"e{i}") for i in range(groups))
    text = A_TEXT.format(number, number)
    return Experience(f"G{number}", text, pinned, provenance=Provenance("updater", step, sources=sources))


def library(*entries):
    return ExperienceLibrary(tuple(entries), next_id=len(entries))


def trimmed(of, entries, **more):
    """What is left of a library that may keep so many of its (equally long) entries."""
    most = tokens_of(of.experiences[:entries])
    return [e.id for e in of.apply(trim(of, most, **more)).library]


def test_a_library_within_its_bound_stays_as_it_is():
    whole = library(entry(0), entry(1))
    assert trim(whole, whole.tokens) == []


def test_what_was_measured_to_do_least_goes_first():
    whole = library(*(entry(i) for i in range(4)))
    effects = [effect_on(whole["G1"], -0.2), effect_on(whole["G2"], 0.3), effect_on(whole["G3"], 0.1)]
    assert trimmed(whole, 3, effects=effects) == ["G0", "G2", "G3"]
    assert trimmed(whole, 2, effects=effects) == ["G2", "G3"], "not measured counts as zero"


def test_the_effect_of_an_earlier_text_does_not_count():
    whole = library(entry(0), entry(1))
    stale = replace(effect_on(whole["G0"], -0.9), text="When it said something else.")
    assert trimmed(whole, 1, effects=[stale]) == ["G0"]


def test_of_equals_the_newest_goes_then_what_fewest_groups_speak_for():
    assert trimmed(library(entry(0, 2), entry(1, 1), entry(2, 3)), 2) == ["G0", "G1"]
    assert trimmed(library(entry(0, 1, groups=1), entry(1, 1, groups=3)), 1) == ["G1"]
    assert trimmed(library(entry(0, None), entry(1)), 1) == ["G0"], "what no step added stays longest"


def test_pinned_entries_stay_whatever_they_take():
    whole = library(entry(0, pinned=True), entry(1), entry(2, pinned=True))
    assert [e.id for e in whole.apply(trim(whole, 1)).library] == ["G0", "G2"]


def test_each_drop_has_its_reason():
    whole = library(entry(0), entry(1), entry(2))
    gone = trim(whole, tokens_of([entry(0)]), effects=[effect_on(whole["G1"], -0.2)])
    assert [(c.op, c.id) for c in gone] == [("delete", "G1"), ("delete", "G2")]
    assert "at most 15 are allowed, and it had the lowest measured effect left: undecided: -0.2" in gone[0].reason
    assert gone[1].reason.endswith("it was the newest left")


@example(made=[(1, 0, False), (1, 0, False)], most=58)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3), st.booleans()), max_size=12), st.integers(1, 150))
def test_it_fits_or_only_pinned_entries_are_left_and_no_more_goes_than_has_to(made, most):
    whole = library(*(entry(i, step, groups, pinned=pinned) for i, (step, groups, pinned) in enumerate(made)))
    for count in (None, lambda text: len(text.split()), len):
        kept, changes, refusals = whole.apply(trim(whole, most, count=count))
        assert not refusals
        assert tokens_of(kept, count) <= most or all(e.pinned for e in kept)
        assert {e.id for e in whole if e.pinned} <= {e.id for e in kept}
        if changes:
            back = [e for e in whole if e.id in {k.id for k in kept} | {changes[-1].id}]
            assert tokens_of(back, count) > most, "the last one had to go"


def test_pairs_that_share_most_words_are_found_the_most_alike_first():
    texts = ["When a b c d e f, do g.", "When a b c d e f, do h.", "When x y z, do it now.", "When a b c d q r, do g."]
    whole = ExperienceLibrary.from_texts(texts)
    assert alike_pairs(whole) == (("G0", "G1"), ("G0", "G3"), ("G1", "G3"))
    assert alike_pairs(whole.pin("G0").pin("G1")) == (("G0", "G3"), ("G1", "G3"))


def test_pinned_entries_that_exceed_the_bound_alone_are_refused_before_a_call():
    whole = ExperienceLibrary.from_texts(["When one two three, do four."]).pin("G0")
    with pytest.raises(SettingsError, match="the pinned experiences alone take 9 tokens"):
        Settings(library=whole, max_library_tokens=3)
    with pytest.raises(SettingsError, match="alone take 7 tokens, but `max_library_tokens` is 6"):
        Settings(library=whole, max_library_tokens=6, count_tokens=lambda text: len(text.split()))
    with pytest.raises(SettingsError, match="`count_tokens` must be a function"):
        Settings(count_tokens=4)
