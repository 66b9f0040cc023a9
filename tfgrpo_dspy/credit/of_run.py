"""The credit of one run: what its rollouts say of the experiences they read, step after step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.effects import Effect

if TYPE_CHECKING:
    from tfgrpo_dspy.credit.effects import Trial
    from tfgrpo_dspy.records.rollouts import Group


class Credit:
    """Keeps the trials of a run; one whose rollouts read everything keeps none, and measures nothing.

    Args:
        dropout: Chance that a rollout does not read an entry, in [0, 1).
    """

    def __init__(self, dropout: float) -> None:
        self._dropout = dropout
        self._trials: list[Trial] = []
        self.latest: tuple[Effect, ...] = ()
        """Of the entries that the rollouts of the last step read."""

    def take(self, groups: Iterable[Group], library: ExperienceLibrary, step: int) -> tuple[Effect, ...]:
        """Learn from the groups of a step, which read parts of that library; returns `latest`."""
        if self._dropout:
            from tfgrpo_dspy.credit.effects import trials_of

            self._trials += trials_of(groups, library, step)
            self.latest = self.of(library)
        return self.latest

    def of(self, library: ExperienceLibrary) -> tuple[Effect, ...]:
        """The effects of a library's entries, as far as they are measured."""
        if not self._trials:
            return ()
        from tfgrpo_dspy.credit.effects import effects_of

        return effects_of(self._trials, library, self._dropout)
