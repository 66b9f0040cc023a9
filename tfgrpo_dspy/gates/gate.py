"""Gates: what a proposal has to pass before it becomes part of the library (ours; the paper applies every update)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.updates import Proposal, Ruling
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.statistics.estimates import Rewards
from tfgrpo_dspy.statistics.lost import Side
from tfgrpo_dspy.steps.briefing import Briefing


class Tried(NamedTuple):
    """A library on some examples."""

    rewards: Rewards
    """One row per example, in order; lost rollouts are missing."""
    usage: Usage
    is_whole: bool
    """False when the budget did not allow all."""
    lost: Sequence[int] = ()
    """Rollouts that were lost, by example; empty for none."""

    @property
    def side(self) -> Side:
        """As one side of a comparison."""
        return Side(self.rewards, self.lost or [0] * len(self.rewards))


class Evaluator(Protocol):
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
    """What a gate knows when it rules on a step's proposal."""

    proposal: Proposal
    operations: tuple[Operation, ...]
    """Those of the proposal that no one refused yet, Keeps left out."""
    briefing: Briefing
    """Step and settings, and the run's LM for reflection."""
    advantages: Mapping[str, SemanticAdvantage]
    """What the labels in the operations' `sources` stand for."""
    trainset: tuple[dspy.Example, ...]
    workers: Workers
    evaluator: Evaluator

    @property
    def library(self) -> ExperienceLibrary:
        """E, as it is before the proposal."""
        return self.proposal.library

    def after(self, operations: Sequence[Operation]) -> ExperienceLibrary:
        """The library E' that these of the operations would make: the one that is kept if they enter."""
        return self.proposal.after(operations).library


class Gate(Protocol):
    """Decides which operations of a proposal may enter; a frozen dataclass, so that a resumed run knows it again."""

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


def check_gate(gate: Gate | Sequence[Gate] | None) -> Gate | None:
    """One gate of one or several; None for none.

    Raises:
        SettingsError: Something has no method `rule`.
    """
    given = () if gate is None else tuple(gate) if isinstance(gate, Sequence) else (gate,)
    for one in given:
        if not callable(getattr(one, "rule", None)) or isinstance(one, type):
            raise SettingsError(f"gate must be a Gate or several, e.g. Holdout(examples), got {one!r}")
    return None if not given else given[0] if len(given) == 1 else All(given)
