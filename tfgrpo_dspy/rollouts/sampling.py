"""How a batch is rolled out: which examples, by which policy, and how each rollout is drawn apart from all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import dspy

from tfgrpo_dspy.lm.budget import Due
from tfgrpo_dspy.lm.scope import Draw
from tfgrpo_dspy.lm.undocumented import keeps_its_temperature
from tfgrpo_dspy.program.instructions import with_lms
from tfgrpo_dspy.records.rollouts import group_of
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.text import fingerprint

if TYPE_CHECKING:
    from tfgrpo_dspy.rollouts.adaptive import Stopping


class Query(NamedTuple):
    """One example of a batch."""

    position: int
    """Where it stands in the trainset, from 0."""
    example: dspy.Example


class Policy(NamedTuple):
    """A program, looked through once rather than in every rollout."""

    program: dspy.Module
    names: Mapping[int, str]
    """Its predictors' names by `id(predictor)`, and by that of what each is told, which its copies share."""
    fingerprint: str
    """Changes with what its predictors are told, the library included."""

    @classmethod
    def of(cls, program: dspy.Module) -> Policy:
        """The program as a policy."""
        named = program.named_predictors()
        retrieved = [program.told] if hasattr(program, "without_library") else []
        told = fingerprint(*(p.signature.instructions for _, p in named), *retrieved)
        return cls(program, {id(known): name for name, p in named for known in (p, p.signature)}, told)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the rollouts of a batch are drawn, each apart from all others."""

    purpose: str
    """Keeps ranges of rollout ids apart: training, validation and each evaluation have their own."""
    step: int
    size: int
    """Rollouts per query, at most if groups are adaptive."""
    temperature: float | None
    """None keeps each LM's own."""
    failure_score: float
    timeout: float | None = None
    """Seconds that program and metric may take together for one rollout; None for no limit."""
    stopping: Stopping | None = None
    """When a group that starts small is large enough; None makes all rollouts of a group at once."""
    is_learned_from: bool = False
    """Whether groups are to be reflected on; those of an evaluation are not."""
    dataset: str = "trainset"
    """What its examples are called where one goes wrong."""
    on_trial: Mapping[str, str | None] = field(default_factory=dict)
    """Ids of experiences that only half of a group's rollouts read, with what the others read instead; None for
    nothing."""

    @classmethod
    def of(cls, settings: Settings, purpose: str, step: int, size: int, dataset: str = "trainset") -> Sampling:
        """As the settings of a run or an evaluation have it."""
        drawn = cls(purpose, step, size, settings.temperature, settings.failure_score, settings.rollout_timeout)
        return replace(drawn, dataset=dataset)

    @property
    def first(self) -> int:
        """Rollouts per query that are made whatever comes out of them."""
        return self.size if self.stopping is None else self.stopping.start

    def draw(self, rollout: str) -> Draw:
        """What tells the calls of a rollout apart from those of any other, and the same on a re-run."""
        return Draw(f"{self.purpose}|{rollout}", self._number(rollout) % 2**31)

    def due(self, rollout: str) -> Due | None:
        """What must be left of a budget for learning from the rollout's group: its summaries and its extraction."""
        return Due(group_of(rollout), self.size + 1) if self.is_learned_from else None

    def lm(self, lm: dspy.BaseLM) -> dspy.BaseLM:
        """The LM as rollouts ask it: at their temperature, unless its model takes no other than its own."""
        if self.temperature is None or keeps_its_temperature(lm):
            return lm
        copied: dspy.BaseLM = lm.copy(temperature=self.temperature)
        return copied

    def withheld(self, rollout: str) -> dict[str, str | None]:
        """The experiences on trial that a rollout does not read, with what it reads instead.

        Of rollouts 0 and 1 of a group one reads an experience, drawn for it alone; so of 2 and 3, and so on.
        """
        group, _, index = rollout.rpartition("/r")
        pair, side = divmod(int(index), 2)
        drawn = {id: self._number(f"{group} pair {pair} reads {id}") for id in self.on_trial}
        return {id: text for id, text in self.on_trial.items() if (drawn[id] + side) % 2}

    def program(self, program: dspy.Module) -> dspy.Module:
        """The program as it is rolled out: a copy if a predictor has an LM of its own."""
        return program if self.temperature is None else with_lms(program, self.lm)

    def _number(self, drawn: str) -> int:
        """63 random bits that belong to what is drawn."""
        return int.from_bytes(blake2b(f"{self.purpose}|{drawn}".encode(), digest_size=8).digest(), "big") >> 1
