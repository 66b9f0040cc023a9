"""What the reflection prompts of a step are told, and who answers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import dspy

from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.leaks import Known
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.retrieval import Shelf
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.program.transcript import render_values
from tfgrpo_dspy.program.values import Things, seen_in
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.updates import Learned
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.reflection import Reflection
from tfgrpo_dspy.text import shorten

_TASK_TOKENS = 4_000


@dataclass(frozen=True, slots=True)
class Briefing:
    """What every reflection prompt of a step is told, and the LM that answers."""

    objective: str
    library: ExperienceLibrary
    settings: Settings
    step: int
    reflection: Reflection
    """M of the paper."""
    effects: tuple[Effect, ...] = ()
    """Measured so far, of its entries; empty without `trials`."""
    dismissed: tuple[Effect, ...] = ()
    """Measured of texts that trials took out."""
    trial_ends: bool = False
    """Whether nothing more will be measured of what is on trial."""
    readers: tuple[str, ...] = ()
    """Names of the predictors that read the library, if there are several; empty for one."""
    learned: Learned = field(default_factory=Learned)
    """What is noted in a library that the step changes."""
    is_last: bool = False
    """Whether no step follows: what could not be decided is not carried any further."""
    known: Known = field(default_factory=Known)
    """What the training examples hold, which lessons must not repeat."""
    shelf: Shelf | None = None
    """The library made ready to be searched; None if prompts show all of it."""

    def asking(self, **changes: Any) -> Briefing:
        """The same, with other settings of `reflection`."""
        return replace(self, reflection=replace(self.reflection, **changes))

    def asking_again(self) -> Briefing:
        """For what failed in an earlier step, see `Reflection.again`."""
        return replace(self, reflection=self.reflection.again(self.step))

    def experiences_about(self, *texts: str) -> str:
        """The present library; of one that is retrieved from what fits the texts, and how much there is besides."""
        found = self.library.experiences if self.shelf is None else self.shelf.select(*texts)
        left_out = len(self.library) - len(found)
        more = f"(and {left_out} more about other things, not shown)" if left_out else ""
        return "\n".join(filter(None, [render_lines(found), more])) or "(none yet)"

    def effects_of(self, entries: Iterable[Experience]) -> str:
        """What was measured of entries, one a line; empty for nothing."""
        ids = {e.id for e in entries}
        return "\n".join(f"[{effect.id}] {effect.to_text()}" for effect in self.effects if effect.id in ids)

    def task(self, example: dspy.Example) -> str:
        """The inputs of an example, as text."""
        return shorten(render_values(dict(example.inputs())), _TASK_TOKENS)

    def seen(self, example: dspy.Example) -> dict[str, dspy.Type]:
        """What the reflection LM sees of an example beside its text, by the name of a field."""
        kinds = self.settings.reflection_sees
        return seen_in(example.inputs().values(), kinds) if kinds else {}

    def expected(self, example: dspy.Example) -> str:
        """Its expected outputs, as text; empty when they are not to be shown, or there are none."""
        labels = dict(example.labels()) if self.settings.use_ground_truth else {}
        return shorten(render_values(labels, Things(example.inputs().values())), _TASK_TOKENS)
