"""Several edits of one library, one after the other, as one list of operations on the library they began with; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tfgrpo_dspy.library.apply import By, Change, Limits, Refusal
from tfgrpo_dspy.library.experience import Experience, Source
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation


@dataclass(frozen=True, slots=True)
class Draft:
    """A library under way from what it was to what it would be."""

    before: ExperienceLibrary
    now: ExperienceLibrary
    changes: tuple[Change, ...] = ()
    """All that happened to it, in order; an entry may have changed more than once."""
    refusals: tuple[Refusal, ...] = ()

    def then(
        self,
        operations: Iterable[Operation],
        by: By,
        *,
        step: int,
        limits: Limits,
        sources: Mapping[str, Source] | None = None,
    ) -> Draft:
        """The draft with these operations, which speak of `now`, carried out as well."""
        given = tuple(operations)
        done = self.now.apply(given, step=step, limits=limits, sources=sources, by=dict.fromkeys(given, by))
        return Draft(self.before, done.library, self.changes + done.changes, self.refusals + done.refusals)

    def net(self, sources: Mapping[str, Source]) -> Net:
        """One operation on `before` for each entry that differs in `now`, in the order of their last change.

        Args:
            sources: What the labels in `Operation.sources` stand for; of several for one, the first is cited.
        """
        labels = {source: label for label, source in reversed([*sources.items()])}
        was, are = ({e.id: e for e in library} for library in (self.before, self.now))
        told: dict[str, list[Change]] = {}
        keeps: list[Operation] = []
        for change in self.changes:
            if change.kind == "keep" and (change.id in was or change.id not in told):
                keeps.append(Keep(id=change.id, reason=change.reason, sources=_labels([change], labels)))
            else:  # a Keep of what the draft itself added bears that out
                earlier = told.pop(str(change.id), [])
                told[str(change.id)] = [*earlier, change]
        net, refusals = _net(told, was, are, labels)
        return Net((*net, *keeps), net, (*self.refusals, *refusals))


@dataclass(frozen=True, slots=True)
class Net:
    """What a draft comes to."""

    operations: tuple[Operation, ...]
    by: Mapping[Operation, By]
    refusals: tuple[Refusal, ...]
    """What was refused on the way, and what was added and taken out again."""


def _labels(changes: Iterable[Change], labels: Mapping[Source, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels[source] for change in changes for source in change.sources if source in labels))


def _net(
    told: Mapping[str, list[Change]],
    was: Mapping[str, Experience],
    are: Mapping[str, Experience],
    labels: Mapping[Source, str],
) -> tuple[dict[Operation, By], list[Refusal]]:
    """What the changes of each entry come to, and what was added and taken out again."""
    operations: dict[Operation, By] = {}
    refusals: list[Refusal] = []
    for id, changes in told.items():
        told_of_it = changes if id in was else [replace(change, reason=_of_itself(change)) for change in changes]
        reason = "; ".join(dict.fromkeys(c.reason for c in told_of_it if c.reason)).replace(".; ", ". ")
        cited = _labels(changes, labels)
        if id not in was and id not in are:
            added = Add(text=changes[0].after or "", reason=changes[0].reason, sources=cited)
            refusals.append(Refusal(added, f"{changes[-1].by}: {changes[-1].reason}"))
        elif id not in was:
            operations[Add(text=are[id].text, scope=are[id].scope, reason=reason, sources=cited)] = changes[0].by
        elif id not in are:
            operations[Delete(id=id, reason=changes[-1].reason, sources=cited)] = changes[-1].by
        elif was[id].text != are[id].text:
            operations[Modify(id=id, text=are[id].text, reason=reason, sources=cited)] = changes[-1].by
    return operations, refusals


def _of_itself(change: Change) -> str:
    """Its reason without the id that the draft gave to a new entry: in the library that id may be another entry's."""
    own = rf"(?:\[{change.id}\]|\b{change.id}\b)"
    return re.sub(own, "this experience", re.sub(rf"\A{own}", "This experience", change.reason))
