from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.made_events import MadeRun
from tests.tfgrpo_dspy.texts import nasty
from tfgrpo_dspy.errors import HistoryError
from tfgrpo_dspy.history.commits import Note, digest_of
from tfgrpo_dspy.history.history import History, blame, diff, rollback
from tfgrpo_dspy.history.of_run import begin, history_of
from tfgrpo_dspy.library.library import Experience, ExperienceLibrary, Limits, Provenance, Source
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify
from tfgrpo_dspy.records.advantages import Evidence

texts = st.sampled_from(["Check the units.", "Draw a figure.", "Try small cases."])
libraries = st.dictionaries(st.integers(0, 12), st.tuples(texts, st.booleans())).map(
    lambda found: ExperienceLibrary(tuple(Experience(f"G{i}", t, p) for i, (t, p) in found.items()), next_id=13)
)


def library(**entries: str) -> ExperienceLibrary:
    return ExperienceLibrary(tuple(Experience(id, text) for id, text in entries.items()), next_id=99)


def test_a_diff_tells_added_removed_modified_and_kept_apart() -> None:
    found = diff(library(G0="a", G1="b", G2="c"), library(G0="a", G2="C", G3="d"))
    assert [e.id for e in found.added] == ["G3"]
    assert [e.id for e in found.removed] == ["G1"]
    assert [(old.text, new.text) for old, new in found.modified] == [("c", "C")]
    assert [e.id for e in found.kept] == ["G0"]


def test_the_text_reads_like_git_with_both_lines_of_a_modification() -> None:
    found = diff(library(G10="old", G1="gone", G0="same"), library(G0="same", G10="new", G11="fresh"))
    assert found.to_text() == "- [G1] gone\n- [G10] old\n+ [G10] new\n+ [G11] fresh\n"


def test_no_change_is_false_and_gives_no_text() -> None:
    found = diff(library(G0="a"), library(G0="a"))
    assert not found
    assert found.to_text() == ""


def test_a_pin_or_a_scope_is_a_change_and_is_shown() -> None:
    before = library(G0="a")
    after = ExperienceLibrary((replace(before["G0"], pinned=True, scope="extract.predict"),), next_id=99)
    assert diff(before, after).to_text() == "- [G0] a\n+ [G0] a  (pinned, only for extract.predict)\n"


def test_provenance_alone_is_no_change() -> None:
    before = library(G0="a")
    after = ExperienceLibrary((replace(before["G0"], provenance=Provenance("updater", 1, 2, "why")),), next_id=99)
    assert not diff(before, after)


def test_a_text_with_line_breaks_stays_on_one_line() -> None:
    assert diff(library(), library(G0="a\nb")).to_text() == "+ [G0] a b\n"


@given(libraries, libraries)
def test_every_id_of_either_library_is_in_exactly_one_part(a: ExperienceLibrary, b: ExperienceLibrary) -> None:
    found = diff(a, b)
    parts = [*found.added, *found.removed, *(new for _, new in found.modified), *found.kept]
    assert sorted(e.id for e in parts) == sorted({e.id for e in a} | {e.id for e in b})


@given(libraries, libraries)
def test_a_diff_turned_round_swaps_added_and_removed(a: ExperienceLibrary, b: ExperienceLibrary) -> None:
    there, back = diff(a, b), diff(b, a)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert {old.id for old, _ in there.modified} == {old.id for old, _ in back.modified}


@given(libraries)
def test_a_library_does_not_differ_from_itself(a: ExperienceLibrary) -> None:
    assert not diff(a, a)
    assert diff(a, a).kept == a.experiences


# --- histories ---

PERSON = Note(author="person")
ids = st.integers(0, 9).map(lambda number: f"G{number}")
words = nasty | st.text(alphabet="abcdef ", min_size=1, max_size=30)
operations = st.one_of(
    st.builds(Add, text=words, reason=nasty),
    st.builds(Modify, id=ids, text=words),
    st.builds(Delete, id=ids | words),
    st.builds(Keep, id=ids | st.none()),
)
updates = st.tuples(st.just("update"), st.lists(operations, max_size=5))
pins = st.tuples(st.just("pin"), ids)
rollbacks = st.tuples(st.just("rollback"), st.integers(0, 20))
events = st.lists(updates | pins | rollbacks, max_size=12)


def lived(happened: list[tuple[str, object]]) -> tuple[History, list[ExperienceLibrary]]:
    """A history in which all of that happened, and the library after each of its commits."""
    history, states = History(), [ExperienceLibrary()]
    for step, (kind, what) in enumerate(happened, start=1):
        library, note, changes = history.library, PERSON, ()
        if kind == "rollback":
            position = what % len(states)
            earlier = states[position]
            if replace(earlier, next_id=library.next_id) == library or position == 0:
                continue
            history = rollback(history, history.commits[position - 1].id)
        elif kind == "pin":
            if what not in library:
                continue
            history = history.record(library.pin(what, not library[what].pinned), note)
        else:
            library, changes, refusals = library.apply(what, step=step, limits=Limits(max_words=None))
            history = history.record(library, Note(author="updater", step=step, refusals=refusals), changes)
        states.append(history.library)
    return history, states


@given(events)
def test_the_replay_of_any_history_gives_the_library_after_each_commit(happened) -> None:
    history, states = lived(happened)
    assert [History(history.commits[:length]).library for length in range(len(history) + 1)] == states
    assert [commit.digest for commit in history] == [digest_of(state) for state in states[1:]]
    assert all(history.at(commit.id) == state for commit, state in zip(history, states[1:], strict=True))


@given(events, st.integers(0, 20))
def test_a_rollback_brings_back_everything_exactly_but_the_next_id(happened, where: int) -> None:
    history, _ = lived(happened)
    if not len(history):
        return
    commit = history.commits[where % len(history)]
    earlier = history.at(commit.id)
    if replace(earlier, next_id=history.library.next_id) == history.library:
        with pytest.raises(HistoryError, match="already as it was"):
            rollback(history, commit.id)
        return
    back = rollback(history, commit.id)
    assert back.library.experiences == earlier.experiences, "texts, pins, scopes, provenance and order"
    assert back.library.next_id == history.library.next_id
    assert back.commits[:-1] == history.commits, "nothing is taken out of a history"


@given(events)
def test_an_id_is_given_once_however_often_one_goes_back(happened) -> None:
    history, states = lived(happened)
    numbers = [state.next_id for state in states]
    assert numbers == sorted(numbers)
    added = [change.id for commit in history for change in commit.changes if change.kind == "add"]
    assert len(added) == len(set(added))


@given(events)
def test_blame_tells_every_text_an_experience_has_had(happened) -> None:
    history, states = lived(happened)
    for id in {e.id for state in states for e in state}:
        told = [c.change.after.text if c.change.after else None for c in blame(history, id)]
        seen = [state[id].text if id in state else None for state in states]
        assert {text for text in told if text is not None} == {text for text in seen if text is not None}
        assert told[-1] == seen[-1]


def a_history() -> History:
    """G0 and G1 learned, G0 changed, G1 deleted, then a pin: five commits."""
    groups = {"A0": Source("e3", ("s1/e3/r0", "s1/e3/r1")), "A1": Source("e5", ("s1/e5/r0",))}
    evidence = (Evidence(groups["A0"], "Add 2 and 2.", (0.0, 1.0)), Evidence(groups["A1"], "Count.", (1.0,)))
    first = ExperienceLibrary().apply(
        [Add(text="Read twice.", sources=("A0",), reason="it won"), Add(text="Count both ends.", sources=("A1",))],
        step=1,
        sources=groups,
    )
    history = History().record(first.library, Note(author="updater", step=1, evidence=evidence), first.changes)
    changed = first.library.apply([Modify(id="G0", text="Read slowly.", reason="shorter")], author="person")
    history = history.record(changed.library, Note(author="person", at="2026-01-02T03:04:05+0000"), changed.changes)
    gone = changed.library.apply([Delete(id="G1")], step=2)
    history = history.record(gone.library, Note(author="updater", step=2), gone.changes)
    return history.record(gone.library.pin("G0"), Note(author="person", reason="it is sure"))


def test_blame_tells_when_why_by_whom_and_from_which_rollouts() -> None:
    first, changed, pinned = blame(a_history(), "G0")
    assert (first.author, first.commit.step, first.reason) == ("updater", 1, "it won")
    assert [(e.task, e.rewards, e.source.rollouts) for e in first.evidence] == [
        ("Add 2 and 2.", (0.0, 1.0), ("s1/e3/r0", "s1/e3/r1"))
    ]
    assert (changed.author, changed.change.before, changed.change.after.text) == (
        "person",
        "Read twice.",
        "Read slowly.",
    )
    assert (changed.reason, changed.evidence) == ("shorter", ())
    assert (pinned.change.kind, pinned.reason) == ("pin", "it is sure")
    assert [c.change.kind for c in blame(a_history(), "G1")] == ["add", "delete"]


def test_a_text_that_a_person_wrote_in_a_step_of_the_updater_is_theirs() -> None:
    edited = Add(text="Think first.")
    applied = ExperienceLibrary().apply([edited, Add(text="Count both ends.")], step=1, by={edited: "person"})
    history = History().record(applied.library, Note(author="updater", step=1), applied.changes)
    assert [blame(history, id)[0].author for id in ("G0", "G1")] == ["person", "updater"]


def test_a_rollback_by_step_goes_to_the_end_of_that_step() -> None:
    history = a_history()
    assert [e.text for e in rollback(history, 1).library] == ["Read twice.", "Count both ends."]
    assert [e.text for e in rollback(history, 2).library] == ["Read slowly."]
    assert rollback(history, 0).library == ExperienceLibrary(next_id=2)
    assert rollback(history, 1).commits[-1].reason == "back to step 1"
    assert rollback(history, 1).commits[-1].author == "person"


def test_a_text_that_came_back_did_so_by_whoever_rolled_back() -> None:
    last = blame(rollback(a_history(), 1, Note(author="person", reason="it was better")), "G0")[-1]
    assert (last.author, last.reason, last.change.after.text) == ("person", "it was better", "Read twice.")
    assert last.change.after.provenance.author == "updater", "who wrote the text is not who brought it back"


def test_what_came_back_is_said_to_be_restored() -> None:
    back = rollback(a_history(), 1)
    assert [(c.id, c.kind) for c in back.commits[-1].changes] == [("G0", "modify"), ("G1", "restore")]
    assert back.commits[-1].summary == "1 changed, 1 restored"


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("abcdef", "there is no commit 'abcdef'; its 4 commits run from"),
        ("", "there is no commit ''"),
        (3, "there is no step 3; there are steps 1 to 2"),
        (-1, "there is no step -1"),
    ],
)
def test_a_commit_or_step_that_is_not_there_is_an_error_that_says_what_is(to, message) -> None:
    with pytest.raises(HistoryError, match=message):
        rollback(a_history(), to)


def test_an_empty_history_has_nothing_to_go_back_to_or_to_blame() -> None:
    with pytest.raises(HistoryError, match="the history is empty"):
        rollback(History(), "abcdef")
    with pytest.raises(HistoryError, match="there is no step 1; there is none"):
        rollback(History(), 1)
    with pytest.raises(HistoryError, match="there has never been a G0; the history is empty"):
        blame(History(), "G0")
    with pytest.raises(HistoryError, match="there has never been a G7; its ids run from G0 to G1"):
        blame(a_history(), "G7")


def test_four_digits_of_a_commit_are_enough() -> None:
    history = a_history()
    assert history.find(history.commits[1].id[:4]) == history.commits[1]
    with pytest.raises(HistoryError, match="there is no commit"):
        history.find(history.commits[1].id[:3])


def test_a_new_text_under_the_id_of_a_deleted_experience_is_refused() -> None:
    history = a_history()
    taken = ExperienceLibrary((*history.library, Experience("G1", "Something new.")), next_id=2)
    with pytest.raises(
        HistoryError, match=r"G1 is the id of an experience that was deleted.*give the new one the id G2"
    ):
        history.record(taken, PERSON)


def test_commits_that_do_not_follow_each_other_are_no_history() -> None:
    first, second, *_ = a_history().commits
    with pytest.raises(HistoryError, match=f"commit 1 .{second.id}. follows {first.id}, not None"):
        History((second,))
    with pytest.raises(HistoryError, match="commit 2"):
        History((first, first))


def test_changes_that_do_not_fit_give_no_library() -> None:
    first, _, third, _ = a_history().commits
    orphan = replace(third, parent=first.id)
    twice = History((first, orphan, replace(third, parent=orphan.id)))
    with pytest.raises(HistoryError, match="takes G1 out, which is not in the library then"):
        _ = twice.library
    with pytest.raises(HistoryError, match="orders other experiences"):
        _ = History((replace(first, order=("G0",)),)).library
    with pytest.raises(HistoryError, match="leaves no library: next_id is 0"):
        _ = History((replace(first, next_id=0),)).library


def test_an_order_that_is_not_that_of_additions_is_kept() -> None:
    history = a_history()
    library_now = ExperienceLibrary((Experience("G2", "First."), *history.library), next_id=3)
    after = history.record(library_now, PERSON)
    assert [e.id for e in History(after.commits).library] == ["G2", "G0"]


def test_the_same_changes_have_the_same_ids_and_others_do_not() -> None:
    assert [c.id for c in a_history()] == [c.id for c in a_history()]
    assert len({c.id for c in a_history()}) == 4


# --- the history of a run ---


def test_a_run_has_a_commit_for_every_step_with_the_scores_known_then() -> None:
    run = MadeRun(steps=3)
    history = history_of(run.result)
    assert [commit.step for commit in history] == [1, 2, 3]
    assert history.library == run.result.library
    for commit, record in zip(history, run.records, strict=True):
        rewards = [reward for group in record.groups for reward in group.rewards]
        assert commit.scores.training == pytest.approx(sum(rewards) / len(rewards))
        assert (commit.scores.training_n, commit.refusals) == (len(rewards), record.refusals)
        assert commit.scores.validation == record.validation.mean.value
        assert {change.id for change in commit.changes} == {c.id for c in record.changes if c.kind != "keep"}


def test_the_examples_that_a_step_cites_are_in_its_commit() -> None:
    run = MadeRun(steps=1)
    history = history_of(run.result)
    for change in history.commits[0].changes:
        found = blame(history, change.id)[0].evidence
        assert [e.source for e in found] == list(change.sources)
        assert all(e.task.startswith("question: ") and len(e.rewards) == len(e.source.rollouts) for e in found)


def test_the_library_that_did_best_is_gone_back_to_by_a_check_of_the_run() -> None:
    run = MadeRun(steps=3)
    best = replace(run.records[0].library, next_id=run.records[-1].library.next_id)
    history = history_of(replace(run.result, library=best, best_step=1))
    last = history.commits[-1]
    assert (last.author, last.reason) == ("gate", "back to step 1, whose library did best on the valset")
    assert last.scores.validation == run.records[0].validation.mean.value
    assert history.library == best


def test_the_first_library_is_gone_back_to_when_nothing_beat_it() -> None:
    run = MadeRun(steps=2)
    none = ExperienceLibrary(next_id=run.records[-1].library.next_id)
    history = history_of(replace(run.result, library=none, best_step=0))
    assert (history.library, history.commits[-1].author) == (none, "gate")


def test_a_run_goes_on_with_the_history_of_the_library_it_starts_from() -> None:
    known = a_history()
    assert begin(known.library, known) == known
    assert begin(ExperienceLibrary()) == History()
    other = begin(library(G0="a"), known)
    assert [(c.author, c.summary) for c in other] == [("import", "1 added")]
