"""The trials of one run: which experiences are on trial in a step, and what its rollouts say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tfgrpo_dspy.credit.effects import Measured, effects_of, split_of, spread_of
from tfgrpo_dspy.credit.likeness import Likeness
from tfgrpo_dspy.credit.verdicts import CLEAR
from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.statistics.within import Split

_SURE = 1 - 1 / CLEAR
"""Chance of helping, given how its like fare, from which an entry is read by all without a verdict (ours)."""


class Text(NamedTuple):
    """One text of one experience; one that is rewritten starts anew."""

    id: str
    text: str

    @classmethod
    def of(cls, entry: Experience) -> Text:
        """The present text of an entry."""
        return cls(entry.id, entry.text)


class Trials:
    """What is on trial, and the evidence so far. What is established is read by all.

    An entry that an update added is held against nothing; one that it changed, against what it said before, once that
    had been established.
    """

    def __init__(self, likeness: Likeness) -> None:
        self._likeness = likeness
        self._against: dict[Text, str | None] = {}
        self._last: dict[str, str] = {}
        self._splits: dict[Text, list[Split]] = {}
        self._rewards: list[Sequence[float]] = []
        self._settled: dict[Text, Effect] = {}
        self.latest: tuple[Effect, ...] = ()
        """Of the entries that the rollouts of the last step read."""

    def on_trial(self, library: ExperienceLibrary) -> Mapping[str, str | None]:
        """The ids that only half of each group is to read, with what the others read instead; None for nothing."""
        for entry in library:
            self._against.setdefault(Text.of(entry), self._replaced_by(entry))
        self._last |= {e.id: e.text for e in library}
        return {e.id: self._against[Text.of(e)] for e in library if Text.of(e) not in self._settled}

    def take(self, groups: Iterable[Group], library: ExperienceLibrary) -> tuple[Effect, ...]:
        """Learn from the groups of a step, which read that library; returns `latest`."""
        on_trial, known = self.on_trial(library), {e.id: Text.of(e) for e in library}
        for group in groups:
            self._rewards.append(group.rewards)
            for id in on_trial:
                if (split := split_of(group, id)) is not None:
                    self._splits.setdefault(known[id], []).append(split)
        self.latest = self.of(library)
        self._settled |= {Text(e.id, e.text): e for e in self.latest if e.id in on_trial and is_settled(e)}
        return self.latest

    def of(self, library: ExperienceLibrary) -> tuple[Effect, ...]:
        """The effects of a library's entries, as far as they are measured; a verdict stays what it was."""
        seen = [
            Measured(e, self._against.get(Text.of(e)), splits, self._likeness.reach(e))
            for e in library
            if (splits := self._splits.get(Text.of(e)))
        ]
        found = effects_of(seen, spread_of(self._rewards))
        return tuple(self._settled.get(Text(effect.id, effect.text), effect) for effect in found)

    def dismissed(self, library: ExperienceLibrary) -> tuple[Effect, ...]:
        """What was taken out, or back, for what was measured of it."""
        present = {Text.of(e) for e in library}
        return tuple(e for text, e in self._settled.items() if text not in present and is_dismissed(e))

    def doubtful(self, library: ExperienceLibrary, least: float) -> frozenset[str]:
        """The examples that tell something, by `least` or more, of an entry without a verdict."""
        on_trial = self.on_trial(library)
        where = [self._likeness.reach(e).where for e in library if e.id in on_trial]
        return frozenset(name for told in where for name, weight in told.items() if weight >= least)

    def _replaced_by(self, entry: Experience) -> str | None:
        """What rollouts that do not read a text read instead: the last one that was established."""
        before = self._last.get(entry.id)
        if before is None or before == entry.text:
            return None
        last = Text(entry.id, before)
        return before if last in self._settled else self._against.get(last)


def is_settled(effect: Effect) -> bool:
    """Whether more rollouts would change nothing: there is a verdict, or what is added is next to sure to help."""
    is_sure = effect.against is None and effect.chance_among_its_like >= _SURE
    return is_sure or effect.verdict != "undecided"


def is_dismissed(effect: Effect) -> bool:
    """Whether an entry is to go, or to be what it was before: a change is taken back only if it hurts."""
    return effect.verdict == "hurts" or (effect.verdict == "does nothing" and effect.against is None)
