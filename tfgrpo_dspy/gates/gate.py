"""Gates: what an update has to pass before it becomes part of the library (ours; the paper applies every update)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import dspy

from tfgrpo_dspy.library.library import ExperienceLibrary, Refusal, operation_id
from tfgrpo_dspy.library.operations import Keep, Operation
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.updates import Ruling
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.statistics.estimates import Rewards
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.reflection import Reflection

if TYPE_CHECKING:
    from tfgrpo_dspy.records.updates import Update


class Tried(NamedTuple):
    """A library on some examples."""

    rewards: Rewards
    """One row per example, in order; lost rollouts are missing."""
    usage: Usage
    is_whole: bool
    """False when the budget did not allow all."""


class Bench(Protocol):
    """What a run lends to a gate: its student, metric and settings."""

    def try_out(
        self,
        libraries: Sequence[ExperienceLibrary],
        examples: Sequence[dspy.Example],
        *,
        purpose: str,
        step: int,
        k: int,
    ) -> list[Tried]:
        """Each library on the same examples, k rollouts each; the purpose keeps them apart from all others."""
        ...


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a gate knows when it rules on a step's update."""

    briefing: Briefing
    """Step, settings and the present library E."""
    operations: tuple[Operation, ...]
    """What the update proposes, Keeps left out."""
    advantages: Mapping[str, SemanticAdvantage]
    """What the labels in the operations' `sources` stand for."""
    trainset: tuple[dspy.Example, ...]
    reflection: Reflection
    """The run's LM for reflection."""
    workers: Workers
    bench: Bench

    @property
    def library(self) -> ExperienceLibrary:
        """E, as it is before the update."""
        return self.briefing.library

    def after(self, operations: Sequence[Operation]) -> ExperienceLibrary:
        """The library E' that these of the operations would make."""
        limits = self.briefing.settings.limits
        return self.library.apply(operations, step=self.briefing.step, limits=limits).library

    def text_before(self, operation: Operation) -> str:
        """The text that an operation would change or delete; empty if there is none."""
        texts = {experience.id: experience.text for experience in self.library}
        return texts.get(operation_id(operation) or "", "")


class Gate(Protocol):
    """Decides which operations of an update may enter; a frozen dataclass, so that a resumed run knows it again."""

    def rule(self, hearing: Hearing) -> Ruling:
        """The operations that may enter, and why the others may not; called in the thread that runs `compile`."""
        ...


@dataclass(frozen=True, slots=True)
class All:
    """Several gates, one after the other: each rules on what the ones before let pass."""

    gates: tuple[Gate, ...]

    def rule(self, hearing: Hearing) -> Ruling:
        """What passes all of them."""
        ruling = Ruling(hearing.operations)
        for gate in self.gates:
            if ruling.operations:
                ruling = ruling.then(gate.rule(replace(hearing, operations=ruling.operations)))
        return ruling


def gated(gate: Gate | None, update: Update, hearing: Hearing) -> Update:
    """The update with the operations that passed the gate, and refusals of the others."""
    if gate is None or not hearing.operations:
        return update
    ruling = gate.rule(hearing)
    passed = {id(operation) for operation in ruling.operations}
    kept = tuple(o for o in update.operations if isinstance(o, Keep) or id(o) in passed)
    said = tuple(Refusal(r.operation, f"the gate refused it: {r.reason}", r.repeats) for r in ruling.refusals)
    ruling = replace(ruling, operations=(), refusals=())  # they are in the update
    return replace(update, operations=kept, refusals=(*update.refusals, *said), ruling=ruling)
