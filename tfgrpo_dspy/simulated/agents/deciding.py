"""How an agent takes a fork: by the same chances as the policy, over as many turns as there are."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from tfgrpo_dspy.simulated.agents.turns import Scene
from tfgrpo_dspy.simulated.families.model import Family, Fork
from tfgrpo_dspy.simulated.policy import (
    REFERENCE_TEMPERATURE,
    at_temperature,
    cited,
    difficulty_of,
    fall_chance,
    fraction_of,
    listen,
)
from tfgrpo_dspy.simulated.prompt import Demo


class Decision(NamedTuple):
    """A fork that was taken."""

    fork: Fork
    fell: bool
    approach: str
    """The step in words, with the advice that it followed."""


@dataclass(frozen=True, slots=True)
class Mind:
    """An agent at one turn of a task of a known family."""

    scene: Scene
    family: Family
    demos: tuple[Demo, ...]
    temperature: float | None
    rng: random.Random

    @property
    def kind(self) -> str:
        """The sentence that names the kind of task."""
        return f"Here {self._choose(self.family.kinds, 'kind')}."

    def decide(self, fork: Fork) -> Decision:
        """Take a fork, the right way or the wrong."""
        heard, distraction = listen(self.family.name, self.scene.instructions, self.demos, rules_only=True)
        chance = fall_chance(fork.chance, heard[fork.name], distraction, difficulty_of(self.scene.task))
        heat = REFERENCE_TEMPERATURE if self.temperature is None else self.temperature
        fell = self.rng.random() < at_temperature(chance, heat)
        approach = self._choose(fork.wrong if fell else fork.right, fork.name)
        return Decision(fork, fell, f"{approach}{cited(heard[fork.name], fork, fell)}")

    def has_taken(self, fork: Fork) -> bool:
        """Whether an earlier thought shows a side of the fork."""
        return any(approach in self.scene.thoughts for approach in fork.right + fork.wrong)

    def _choose(self, wordings: tuple[str, ...], salt: str) -> str:
        return wordings[int(fraction_of(self.scene.task, salt) * len(wordings))]
