"""What `ExperienceLibrary.apply` promises."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.texts import nasty
from tfgrpo_dspy.library import similarity
from tfgrpo_dspy.library.library import Experience, ExperienceLibrary, Limits, Provenance, Source, id_number
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.library.similarity import NEAR_DUPLICATE, normalised_tokens, overlap
from tfgrpo_dspy.text import count_words, one_line

WORDS = "when units differ convert them first draw figure check small cases guess never".split()
texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join) | nasty
ids = st.integers(0, 9).map("G{}".format) | st.sampled_from(["G007", "", "G99", "first", "\ud800", "[G1]"])
labels = st.lists(st.sampled_from(["A0", "A1", "A9"]), max_size=3).map(tuple)
operations = st.one_of(
    st.builds(Add, text=texts, reason=texts, sources=labels),
    st.builds(Modify, id=ids, text=texts, reason=texts, sources=labels),
    st.builds(Delete, id=ids, reason=texts, sources=labels),
    st.builds(Keep, id=st.none() | ids, reason=texts, sources=labels),
)
batches = st.lists(operations, max_size=10)
provenances = st.builds(Provenance, sources=st.lists(st.builds(Source, st.sampled_from(["e0", "e1"]))).map(tuple))
libraries = st.dictionaries(
    st.integers(0, 8),
    st.tuples(texts, st.booleans(), st.sampled_from([None, "solve"]), provenances),
    max_size=6,
).map(lambda found: ExperienceLibrary(tuple(Experience(f"G{i}", *rest) for i, rest in found.items()), next_id=9))
limits = st.builds(
    Limits,
    st.none() | st.integers(1, 8),
    st.none() | st.integers(1, 120),
    st.none() | st.integers(1, 10),
)
SOURCES = {"A0": Source("e0", ("s1/e0/r0", "s1/e0/r1")), "A1": Source("e1", ("s1/e1/r0",))}


def library_of(*texts: str) -> ExperienceLibrary:
    return ExperienceLibrary.from_texts(texts)


def is_within(library: ExperienceLibrary, limits: Limits) -> bool:
    return (
        (limits.max_experiences is None or len(library) <= limits.max_experiences)
        and (limits.max_tokens is None or library.tokens <= limits.max_tokens)
        and (limits.max_words is None or all(count_words(one_line(e.text)) <= limits.max_words for e in library))
    )


class TestForAnyLibraryAndAnyOperations:
    @given(libraries, batches, limits)
    def test_every_operation_is_either_a_change_or_a_refusal(self, library, batch, limits) -> None:
        applied = library.apply(batch, step=1, sources=SOURCES, limits=limits)
        refused = [refusal.operation for refusal in applied.refusals]
        assert len(applied.changes) + len(refused) == len(batch)
        accepted = list(batch)
        for operation in refused:
            accepted.remove(operation)  # raises if it was not asked for, or refused more often than asked
        assert sorted(o.op for o in accepted) == sorted(change.kind for change in applied.changes)
        assert all(refusal.reason for refusal in applied.refusals)

    @given(libraries, batches, limits)
    def test_the_changes_turn_the_old_library_into_the_new_one(self, library, batch, limits) -> None:
        applied = library.apply(batch, limits=limits)
        entries = {e.id: e.text for e in library}
        for change in applied.changes:
            assert change.before == (None if change.id is None else entries.get(change.id))
            if change.kind == "delete":
                del entries[change.id]
            elif change.kind in {"add", "modify"}:
                entries[change.id] = change.after
        assert list(entries.items()) == [(e.id, e.text) for e in applied.library]

    @given(libraries, st.lists(batches, max_size=4), limits)
    def test_ids_are_never_used_again_nor_renumbered(self, library, updates, limits) -> None:
        gone: set[str] = set()
        for batch in updates:
            after = library.apply(batch, limits=limits).library
            new = {e.id for e in after} - {e.id for e in library}
            assert all(library.next_id <= id_number(id) < after.next_id for id in new)
            assert after.next_id == library.next_id + len(new)
            assert not new & gone
            gone |= {e.id for e in library} - {e.id for e in after}
            library = after

    @given(libraries, batches)
    def test_those_that_stay_keep_their_order_and_new_ones_follow(self, library, batch) -> None:
        before, after = [e.id for e in library], [e.id for e in library.apply(batch).library]
        stayed = [id for id in before if id in after]
        assert after[: len(stayed)] == stayed
        assert [id_number(id) for id in after[len(stayed) :]] == sorted(id_number(id) for id in after[len(stayed) :])

    @given(libraries, batches)
    def test_pinned_entries_never_change(self, library, batch) -> None:
        after = library.apply(batch).library
        assert [e for e in after if e.pinned] == [e for e in library if e.pinned]

    @given(libraries, batches)
    def test_scopes_and_pins_are_not_the_updaters_to_set(self, library, batch) -> None:
        before = {e.id: (e.pinned, e.scope) for e in library}
        assert all((e.pinned, e.scope) == before.get(e.id, (False, None)) for e in library.apply(batch).library)

    @given(libraries, batches, limits)
    def test_a_library_within_its_limits_stays_within_them(self, library, batch, limits) -> None:
        if is_within(library, limits):
            assert is_within(library.apply(batch, limits=limits).library, limits)

    @given(libraries, batches, st.integers(1, 60))
    def test_a_library_beyond_its_limits_never_grows(self, library, batch, max_tokens) -> None:
        if library.tokens > max_tokens:
            after = library.apply(batch, limits=Limits(max_tokens=max_tokens)).library
            assert after.tokens <= library.tokens

    @given(libraries, batches, st.randoms(use_true_random=False))
    def test_it_does_not_matter_how_the_kinds_are_mixed(self, library, batch, rng: random.Random) -> None:
        by_kind = {kind: [o for o in batch if o.op == kind] for kind in ("add", "keep", "modify", "delete")}
        kinds = [o.op for o in batch]
        rng.shuffle(kinds)
        mixed = [by_kind[kind].pop(0) for kind in kinds]  # the order within a kind stays
        assert library.apply(mixed) == library.apply(batch)

    @given(libraries, batches, limits)
    def test_the_same_again_gives_the_same_and_the_old_library_is_as_it_was(self, library, batch, limits) -> None:
        before = replace(library)
        first = library.apply(iter(batch), step=2, sources=SOURCES, limits=limits)
        assert library.apply(batch, step=2, sources=SOURCES, limits=limits) == first
        assert library == before

    @given(libraries, batches)
    def test_no_new_text_repeats_another_one(self, library, batch) -> None:
        applied = library.apply(batch)
        written = {change.id for change in applied.changes if change.kind in {"add", "modify"}}
        tokens = {e.id: normalised_tokens(e.text) for e in applied.library}
        for id in written & tokens.keys():
            later = {c.id for c in applied.changes[[c.id for c in applied.changes].index(id) + 1 :]}
            for other in tokens.keys() - {id} - (later & written):
                assert overlap(tokens[id], tokens[other]) < NEAR_DUPLICATE

    @given(libraries, batches)
    def test_every_written_text_is_one_safe_line(self, library, batch) -> None:
        written = [c.after for c in library.apply(batch).changes if c.kind in {"add", "modify"}]
        assert all(text and text == one_line(text) for text in written)

    @given(libraries, batches)
    def test_provenance_only_accumulates(self, library, batch) -> None:
        after = library.apply(batch, step=7, sources=SOURCES).library
        for old in library:
            if old.id in after:
                new = after[old.id].provenance
                assert new.sources[: len(old.provenance.sources)] == old.provenance.sources
                assert (new.created_step, new.modified_step) in {
                    (old.provenance.created_step, old.provenance.modified_step),
                    (old.provenance.created_step, 7),
                }


def test_nothing_asked_changes_nothing() -> None:
    library = library_of("Draw a figure.")
    assert library.apply([]) == (library, (), ())


def test_an_addition_gets_the_next_id_and_its_provenance() -> None:
    library = ExperienceLibrary((Experience("G4", "Draw a figure."),), next_id=9)
    add = Add(text="When units differ,\nconvert first.", reason="A0 won\tby it.", sources=("A0",))
    applied = library.apply([add], step=3, sources=SOURCES)
    assert applied.library.experiences[1] == Experience(
        "G9",
        "When units differ, convert first.",
        provenance=Provenance("updater", 3, None, "A0 won by it.", (SOURCES["A0"],)),
    )
    assert applied.library.next_id == 10
    (change,) = applied.changes
    assert (change.kind, change.id, change.before, change.after) == ("add", "G9", None, add.text.replace("\n", " "))
    assert (change.reason, change.sources) == ("A0 won by it.", (SOURCES["A0"],))


def test_a_modification_keeps_id_place_creation_and_earlier_sources() -> None:
    first = Source("e7")
    old = Experience("G0", "Draw.", scope="solve", provenance=Provenance("import", 1, None, "found", (first,)))
    library = ExperienceLibrary((old, Experience("G1", "Check the units.")), next_id=2)
    modify = Modify(id="G0", text="In geometry draw a figure.", reason="sharper", sources=("A1", "A1"))
    after = library.apply([modify], step=5, sources=SOURCES | {"A2": first}).library
    assert [e.id for e in after] == ["G0", "G1"]
    assert after["G0"] == Experience(
        "G0",
        "In geometry draw a figure.",
        scope="solve",
        provenance=Provenance("updater", 1, 5, "sharper", (first, SOURCES["A1"])),
    )


@pytest.mark.parametrize("cited", [(), ("A9",), ("A9", "A8")])
def test_an_operation_that_cites_nothing_known_rests_on_nothing(cited: tuple[str, ...]) -> None:
    applied = library_of().apply([Add(text="Draw.", sources=cited)], sources=SOURCES)
    assert applied.library["G0"].provenance.sources == applied.changes[0].sources == ()


def test_a_change_says_what_asked_for_it_and_a_text_who_wrote_it() -> None:
    mine, theirs = Add(text="Draw a figure."), Add(text="Count both ends.")
    applied = library_of().apply([mine, theirs], step=1, by={mine: "person"})
    assert [change.by for change in applied.changes] == ["person", "update"]
    assert [e.provenance.author for e in applied.library] == ["person", "updater"]


def test_a_source_known_by_two_labels_is_named_once() -> None:
    twice = {"A0": Source("e0"), "A1": Source("e0")}
    for cited in (("A1", "A0"), ("A0", "A1", "A0")):
        applied = library_of().apply([Add(text="Draw.", sources=cited)], sources=twice)
        assert applied.library["G0"].provenance.sources == (Source("e0"),)


def test_the_author_is_who_asked() -> None:
    assert library_of().apply([Add(text="Draw.")], author="person").library["G0"].provenance.author == "person"


def refusals(library: ExperienceLibrary, *batch: Operation, **limits: int | None) -> list[str]:
    return [r.reason for r in library.apply(batch, limits=Limits(**limits)).refusals]


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Add(text=" \n "), "the text is empty"),
        (Add(text="one two three four"), "4 words, at most 3 are allowed"),
        (Add(text="DRAW, a figure!"), "it repeats G0"),
        (Modify(id="G1", text="draw a figure"), "it repeats G0"),
        (Modify(id="G0", text="Draw a figure."), "the text is that of G0 already"),
        (Modify(id="G0", text=""), "the text is empty"),
        (Modify(id="G5", text="new text"), "there is no G5"),
        (Modify(id="G2", text="new text"), "G2 is pinned"),
        (Delete(id="G2"), "G2 is pinned"),
        (Delete(id="G5"), "there is no G5"),
        (Delete(id="nonsense\n"), "there is no nonsense"),
        (Keep(id="G5"), "there is no G5"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_with_its_reason(operation: Operation, reason: str) -> None:
    library = library_of("Draw a figure.", "Check units.", "Try small cases.").pin("G2")
    applied = library.apply([operation], limits=Limits(max_words=3))
    assert [(r.operation, r.reason) for r in applied.refusals] == [(operation, reason)]
    assert applied.library == library
    assert applied.changes == ()


def test_a_repetition_points_to_the_entry_it_repeats() -> None:
    applied = library_of("Check units.", "When in doubt, draw a figure.").apply(
        [Add(text="when in doubt draw a figure")]
    )
    assert applied.refusals[0].repeats == "G1"


def test_two_additions_that_say_the_same_give_one_entry() -> None:
    applied = library_of().apply([Add(text="Draw a figure."), Add(text="draw a figure")])
    assert [e.text for e in applied.library] == ["Draw a figure."]
    assert applied.refusals[0].repeats == "G0"


def test_an_entry_may_be_reworded_and_a_deleted_one_said_again() -> None:
    library = library_of("When in doubt, draw a figure.")
    assert refusals(library, Modify(id="G0", text="When in doubt, draw a large figure.")) == []
    applied = library.apply([Add(text="When in doubt, draw a figure."), Delete(id="G0")])
    assert [e.id for e in applied.library] == ["G1"]


def test_an_entry_deleted_in_the_same_update_can_be_neither_modified_nor_kept() -> None:
    library = library_of("Draw a figure.")
    applied = library.apply([Keep(id="G0"), Modify(id="G0", text="Draw two."), Delete(id="G0"), Delete(id="G0")])
    assert [c.kind for c in applied.changes] == ["delete"]
    assert [(r.operation.op, r.reason) for r in applied.refusals] == [
        ("delete", "G0 was deleted in this update"),
        ("modify", "G0 was deleted in this update"),
        ("keep", "G0 was deleted in this update"),
    ]


def test_of_two_modifications_of_an_entry_the_first_counts() -> None:
    applied = library_of("Draw.").apply([Modify(id="G0", text="Draw two."), Modify(id="G0", text="Draw three.")])
    assert applied.library["G0"].text == "Draw two."
    assert [r.reason for r in applied.refusals] == ["G0 was already changed in this update"]


def test_an_addition_of_this_update_cannot_be_changed_by_it() -> None:
    applied = library_of().apply([Add(text="Draw."), Modify(id="G0", text="Draw two."), Delete(id="G0")])
    assert [r.reason for r in applied.refusals] == ["there is no G0", "there is no G0"]


def test_keeping_is_recorded_for_one_entry_and_for_the_whole_library() -> None:
    applied = library_of("Draw.").apply([Keep(reason="fine"), Keep(id="G0")], sources=SOURCES)
    assert [(c.kind, c.id, c.before, c.after, c.reason) for c in applied.changes] == [
        ("keep", None, None, None, "fine"),
        ("keep", "G0", "Draw.", "Draw.", ""),
    ]
    assert applied.library == library_of("Draw.")


def test_a_full_library_takes_an_addition_only_in_place_of_a_deletion() -> None:
    library = library_of("Draw a figure.", "Check the units.")
    assert refusals(library, Add(text="Try small cases."), max_experiences=2) == [
        "the library is full: 2 of at most 2 entries"
    ]
    assert refusals(library, Add(text="Try small cases."), Delete(id="G0"), max_experiences=2) == []


def test_tokens_are_bounded_as_they_are_rendered() -> None:
    library = library_of("Draw a figure.")
    room = replace(library, experiences=(*library, Experience("G1", "Try small cases.")), next_id=2).tokens
    assert refusals(library, Add(text="Try small cases."), max_tokens=room) == []
    assert refusals(library, Add(text="Try small cases."), max_tokens=room - 1) == [
        f"it would make {room} tokens, at most {room - 1} are allowed"
    ]


def test_an_overgrown_library_can_be_cut_back() -> None:
    library = library_of("When a figure is given, copy it with all its labels before any step.", "Check the units.")
    assert refusals(library, Modify(id="G0", text="Copy the figure."), max_tokens=5) == []
    assert refusals(library, Delete(id="G1"), max_tokens=5, max_experiences=1) == []


def test_without_limits_only_words_are_bounded_as_in_the_paper() -> None:
    assert refusals(library_of(), Add(text="word " * 33)) == ["33 words, at most 32 are allowed"]
    assert library_of().apply([Add(text="word " * 33)]).refusals[0].reason == "33 words, at most 32 are allowed"
    assert refusals(library_of(), Add(text="word " * 33), max_words=None) == []


@pytest.mark.slow
def test_a_hundred_operations_are_not_compared_with_each_of_a_hundred_thousand_experiences(monkeypatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(similarity, "overlap", lambda a, b: compared.append("") or overlap(a, b))
    library = library_of(
        *(f"When case {i} of kind {i % 997} comes up, do step {i * 7} and note it" for i in range(100_000))
    )
    batch: list[Operation] = [Add(text=f"When x{i} is y{i}, look z{i} up in table t{i} first") for i in range(40)]
    batch += [Add(text=f"{library.experiences[i * 999].text} now") for i in range(40)]
    batch += [Modify(id=f"G{i * 991}", text=f"In year n{i} count from m{i} to p{i}, then q{i}") for i in range(10)]
    batch += [Delete(id=f"G{i * 983 + 1}") for i in range(10)]
    applied = library.apply(batch, limits=Limits(max_tokens=10**9))
    assert len(compared) < 0.02 * len(batch) * len(library)
    assert (len(applied.changes), len(applied.refusals)) == (60, 40)
