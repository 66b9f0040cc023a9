"""How a library came to be: its commits, and what changed between two libraries, by id; pure.

A `History` is an immutable sequence of commits; replaying them gives the library. Nothing is ever taken out of it:
`rollback` is itself a commit, and ids of experiences are never used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from tfgrpo_dspy.errors import HistoryError
from tfgrpo_dspy.history.commits import Commit, Kind, Note, Revision, digest_of
from tfgrpo_dspy.library.apply import Change
from tfgrpo_dspy.library.experience import Experience, id_number
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.looks.look import Look, Table
from tfgrpo_dspy.looks.value import Shown, Tabular
from tfgrpo_dspy.records.advantages import Evidence
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.text import counted, one_line

_SHORTEST_PREFIX = 4
"""Digits of a commit's id that name it, if they are those of no other."""


@dataclass(frozen=True, slots=True, repr=False)
class LibraryDiff(Shown):
    """How one library became another; every id of either is in exactly one of the four."""

    added: tuple[Experience, ...]
    """Only in the later library, in its order."""
    removed: tuple[Experience, ...]
    """Only in the earlier library, in its order."""
    modified: tuple[tuple[Experience, Experience], ...]
    """`(before, after)` where text, scope or pin differ, in the later library's order."""
    kept: tuple[Experience, ...]
    """The rest, in the later library's order."""

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.added or self.removed or self.modified)

    def to_text(self) -> str:
        """The changes in the manner of git, by ascending id: `- [G1] old` and `+ [G1] new` lines; empty for none."""
        lines = [(id_number(e.id), "-", e) for e in self.removed]
        lines += [(id_number(before.id), "-", before) for before, _ in self.modified]
        lines += [(id_number(after.id), "+", after) for _, after in self.modified]
        lines += [(id_number(e.id), "+", e) for e in self.added]
        ordered = sorted(lines, key=lambda line: line[0])  # stable: "-" stays before "+"
        told = [(f"{sign} [{e.id}] {one_line(e.text)}", ", ".join(e.marks)) for _, sign, e in ordered]
        return "".join(f"{line}{f'  ({marks})' if marks else ''}\n" for line, marks in told)

    def look(self) -> Look:
        """The changes."""
        counts = ((len(self.added), "added"), (len(self.removed), "removed"), (len(self.modified), "modified"))
        told = ", ".join(f"{n} {what}" for n, what in counts if n) or "no difference"
        rows = tuple((line[:1], line[2:]) for line in self.to_text().splitlines())
        return Look(f"LibraryDiff: {told}", table=Table(("", ""), rows))


def diff(a: ExperienceLibrary, b: ExperienceLibrary) -> LibraryDiff:
    """What turns library `a` into library `b`; provenance alone is no change."""
    before = {e.id: e for e in a}
    after = {e.id for e in b}
    shared = [(before[e.id], e) for e in b if e.id in before]
    return LibraryDiff(
        added=tuple(e for e in b if e.id not in before),
        removed=tuple(e for e in a if e.id not in after),
        modified=tuple((old, new) for old, new in shared if _visible(old) != _visible(new)),
        kept=tuple(new for old, new in shared if _visible(old) == _visible(new)),
    )


@dataclass(frozen=True, repr=False)
class History(Tabular):
    """The commits of a library, oldest first.

    Raises:
        HistoryError: A commit does not follow the one before it, or their replay gives no library.
    """

    commits: tuple[Commit, ...] = ()

    def __post_init__(self) -> None:
        parent = None
        for position, commit in enumerate(self.commits, start=1):
            if commit.parent != parent:
                raise HistoryError(f"commit {position} ({commit.id}) follows {commit.parent}, not {parent}")
            parent = commit.id

    def __len__(self) -> int:
        return len(self.commits)

    def __iter__(self) -> Iterator[Commit]:
        return iter(self.commits)

    @cached_property
    def library(self) -> ExperienceLibrary:
        """The library after the last commit; the empty one before the first."""
        return _replayed(self.commits)

    def look(self) -> Look:
        """Its commits, the last one first."""
        rows = tuple((c.id, c.author, "" if c.step is None else str(c.step), c.summary, c.reason) for c in self)
        table = Table(("commit", "by", "step", "changes", "reason"), rows[::-1])
        return Look(f"History: {counted(len(self), 'commit')}, {counted(len(self.library), 'experience')}", table=table)

    def rows(self) -> list[dict[str, Any]]:
        """A row per change of an experience."""
        return [
            {
                "commit": commit.id,
                "author": commit.author,
                "step": commit.step,
                "change": change.kind,
                "id": change.id,
                "before": change.before,
                "after": change.after.text if change.after is not None else None,
                "reason": change.reason or commit.reason,
            }
            for commit in self
            for change in commit.changes
        ]

    def at(self, to: str | int) -> ExperienceLibrary:
        """The library after a commit, given its id or the start of it, or after a step; 0 is before the first step.

        Raises:
            HistoryError: There is none, or several start so.
        """
        return _replayed(self.commits[: self._length_to(to)])

    def find(self, id: str) -> Commit:
        """The commit whose id is, or starts with, the given one.

        Raises:
            HistoryError: There is none, or several start so.
        """
        return self.commits[self._length_to(id) - 1]

    def before(self, commit: Commit) -> ExperienceLibrary:
        """The library that a commit changed."""
        return _replayed(self.commits[: self._length_to(commit.id) - 1])

    def record(self, library: ExperienceLibrary, note: Note, because: Iterable[Change] = ()) -> History:
        """This history and one more commit, after which the library is the given one.

        Args:
            library: If its `next_id` lies behind, that of the history is kept: ids are never used again.
            note: Who, why and when.
            because: Reasons and sources of single changes; others have the note's reason.

        Raises:
            HistoryError: The library gives a new text to the id of an experience that was deleted.
        """
        before = self.library
        after = replace(library, next_id=max(before.next_id, library.next_id))
        revisions = self._revisions(before, after, {c.id: c for c in because if c.kind != "keep" and c.id is not None})
        old, new = [e.id for e in before], [e.id for e in after]
        there, was_there = set(new), set(old)
        expected = [id for id in old if id in there] + [id for id in new if id not in was_there]
        commit = Commit(
            **{name: getattr(note, name) for name in Note.__dataclass_fields__},
            parent=self.commits[-1].id if self.commits else None,
            changes=revisions,
            order=tuple(new) if new != expected else (),
            next_id=after.next_id,
            learned_with=after.learned_with,
            domain=after.domain,
            learned_under=after.learned_under,
            digest=digest_of(after),
        )
        return History((*self.commits, commit.named()))

    def _revisions(
        self, before: ExperienceLibrary, after: ExperienceLibrary, because: Mapping[str, Change]
    ) -> tuple[Revision, ...]:
        old, new = {e.id: e for e in before}, {e.id: e for e in after}
        ids = dict.fromkeys([*(id for id in old if id not in new), *new])
        made = []
        for id in ids:
            a, b = old.get(id), new.get(id)
            if a != b:
                kind = _kind(a, b, is_back=a is None and id_number(id) < before.next_id)
                change = because.get(id)
                earlier = (c.after for commit in self for c in commit.changes if c.id == id and c.after)
                if kind == "restore" and b is not None and all(was.text != b.text for was in earlier):
                    raise HistoryError(
                        f"{id} is the id of an experience that was deleted, and ids are never used again; give the new "
                        f"one the id G{self.library.next_id}"
                    )
                reason, sources = (change.reason, change.sources) if change else ("", ())
                made.append(Revision(kind, id, a.text if a else None, b, reason, sources))
        return tuple(made)

    def _length_to(self, to: str | int) -> int:
        """How many commits there are up to the one named."""
        if isinstance(to, int):
            return self._length_to_step(to)
        found = [i for i, commit in enumerate(self.commits, start=1) if commit.id == to]
        if not found and len(to) >= _SHORTEST_PREFIX:
            found = [i for i, commit in enumerate(self.commits, start=1) if commit.id.startswith(to)]
        if len(found) != 1:
            known = f"its {len(self)} commits run from {self.commits[0].id} to {self.commits[-1].id}" if self else ""
            several = "more than one commit starts with" if found else "there is no commit"
            raise HistoryError(f"{several} {one_line(to)!r}; {known or 'the history is empty'}")
        return found[0]

    def _length_to_step(self, step: int) -> int:
        """The last run's step of that number; before its first one for 0."""
        steps = [(i, commit.step) for i, commit in enumerate(self.commits, start=1) if commit.author == "updater"]
        found = [i for i, number in steps if number == max(step, 1)]
        if found and step > 0:  # what a gate took out after the update belongs to the step
            later = [
                i for i, commit in enumerate(self.commits, start=1) if (commit.author, commit.step) == ("gate", step)
            ]
            found += [i for i in later if i > found[-1]]
        if not found or step < 0:
            known = sorted({number for _, number in steps if number is not None})
            span = f"steps {known[0]} to {known[-1]}" if len(known) > 1 else "".join(f"step {n}" for n in known)
            raise HistoryError(f"there is no step {step}; {f'there are {span}' if span else 'there is none'}")
        return found[-1] - (step == 0)


def rollback(history: History, to: str | int, note: Note | None = None) -> History:
    """The history with one more commit, which makes the library what it was after an earlier one.

    Texts, pins, scopes and provenance come back as they were; `next_id` stays, so that no id is used twice.

    Args:
        history: Where to go back in.
        to: A commit's id or the start of it, or a step's number; 0 is before the first step.
        note: Who, why and when; None for a person without a reason.

    Raises:
        HistoryError: There is no such commit or step, or the library is already as it was then.
    """
    earlier = history.at(to)
    now = history.library
    where = f"step {to}" if isinstance(to, int) else history.find(to).id
    if replace(earlier, next_id=now.next_id) == now:
        raise HistoryError(f"the library is already as it was after {where}; there is nothing to roll back")
    note = note or Note(author="person")
    return history.record(earlier, replace(note, reason=note.reason or f"back to {where}"))


class Chapter(NamedTuple):
    """One change of one experience, with all that is known of it."""

    commit: Commit
    change: Revision
    evidence: tuple[Evidence, ...]
    """The groups that this change rests on."""

    @property
    def author(self) -> str:
        """Who made the change: whoever made the commit, or in a step of a run the person who edited the text."""
        after = self.change.after if self.commit.author == "updater" and self.change.kind in {"add", "modify"} else None
        return after.provenance.author if after is not None else self.commit.author

    @property
    def reason(self) -> str:
        """Why: the change's own reason, or the commit's."""
        return self.change.reason or self.commit.reason


def blame(history: History, id: str) -> tuple[Chapter, ...]:
    """How an experience changed over time, oldest first: each text, when, why, by whom, and on what evidence.

    Raises:
        HistoryError: There has never been such an experience.
    """
    chapters = tuple(
        Chapter(commit, change, tuple(e for e in commit.evidence if e.source in change.sources))
        for commit in history
        for change in commit.changes
        if change.id == id
    )
    if not chapters:
        ids = sorted({c.id for commit in history for c in commit.changes}, key=id_number)
        known = f"its ids run from {ids[0]} to {ids[-1]}" if ids else "the history is empty"
        raise HistoryError(f"there has never been a {one_line(id)}; {known}")
    return chapters


def measured_effects(history: History) -> dict[str, Effect]:
    """What was last measured of each text that the library has now, by id; nothing without `trials`."""
    latest = {(effect.id, effect.text): effect for commit in history for effect in commit.scores.effects}
    return {e.id: latest[e.id, e.text] for e in history.library if (e.id, e.text) in latest}


def _replayed(commits: tuple[Commit, ...]) -> ExperienceLibrary:
    if not commits:
        return ExperienceLibrary()
    entries: dict[str, Experience] = {}
    for commit in commits:
        for change in commit.changes:
            if change.after is not None:
                entries[change.id] = change.after
            elif entries.pop(change.id, None) is None:
                raise HistoryError(f"commit {commit.id} takes {change.id} out, which is not in the library then")
        if commit.order and set(commit.order) != set(entries):
            raise HistoryError(f"commit {commit.id} orders other experiences than there are then")
        entries = {id: entries[id] for id in commit.order} or entries
    last, held = commits[-1], tuple(entries.values())
    try:
        return ExperienceLibrary(held, last.next_id, last.learned_with, last.domain, last.learned_under)
    except ValueError as error:
        raise HistoryError(f"commit {last.id} leaves no library: {error}") from error


def _kind(old: Experience | None, new: Experience | None, *, is_back: bool) -> Kind:
    if old is None:
        return "restore" if is_back else "add"
    if new is None:
        return "delete"
    if old.text != new.text:
        return "modify"
    if old.pinned != new.pinned:
        return "pin" if new.pinned else "unpin"
    return "mark"


def _visible(experience: Experience) -> tuple[str, bool, str | None]:
    return experience.text, experience.pinned, experience.scope
