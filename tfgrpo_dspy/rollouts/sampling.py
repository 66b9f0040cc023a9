"""How a batch is rolled out: which examples, by which policy, and how each rollout is drawn apart from all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import dspy

from tfgrpo_dspy.lm.metered import copy_lm
from tfgrpo_dspy.program.instructions import copy_program, library_of, withhold
from tfgrpo_dspy.rollouts.adaptive import Stopping
from tfgrpo_dspy.runtime.journal import fingerprint


class Query(NamedTuple):
    """One example of a batch."""

    position: int
    """Where it stands in the trainset, from 0."""
    example: dspy.Example


class Policy(NamedTuple):
    """A program, looked through once rather than in every rollout."""

    program: dspy.Module
    names: Mapping[int, str]
    """Its predictors' names by `id(predictor)`."""
    has_lms: bool
    """Whether any predictor has an LM of its own."""
    fingerprint: str
    """Changes with what its predictors are told, the library included."""

    @classmethod
    def of(cls, program: dspy.Module) -> Policy:
        """The program as a policy."""
        named = program.named_predictors()
        retrieved = [program.told] if hasattr(program, "without_library") else []
        told = fingerprint(*(p.signature.instructions for _, p in named), *retrieved)
        return cls(program, {id(p): name for name, p in named}, any(p.lm is not None for _, p in named), told)


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
    dropout: float = 0.0
    """Chance that a rollout does not read an experience, each by itself, in [0, 1)."""

    @property
    def first(self) -> int:
        """Rollouts per query that are made whatever comes out of them."""
        return self.size if self.stopping is None else self.stopping.start

    def lm(self, lm: dspy.BaseLM, rollout: str) -> dspy.BaseLM:
        """A copy of the LM for one rollout.

        Its `rollout_id` makes DSPy's cache answer a re-run but nothing else. An LM that was given a `seed` gets
        another one for each rollout, or a provider that honours it would return the same answer G times.
        """
        number = self._number(rollout)
        changed: dict[str, Any] = {"rollout_id": number}
        if self.temperature is not None:
            changed["temperature"] = self.temperature
        if lm.kwargs.get("seed") is not None:
            changed["seed"] = number % 2**31
        return copy_lm(lm, **changed)

    def withheld(self, program: dspy.Module, rollout: str) -> tuple[str, ...]:
        """Ids of the experiences of the program's library that a rollout does not read, drawn for it alone."""
        if not self.dropout:
            return ()
        bound = self.dropout * 2**63
        return tuple(e.id for e in library_of(program) if self._number(f"{rollout} without {e.id}") < bound)

    def policy(self, policy: Policy, rollout: str, withheld: Sequence[str] = ()) -> Policy:
        """The policy for one rollout: a copy if it is not to read all, or a predictor's own LM is to be drawn apart."""
        if not policy.has_lms and not withheld:
            return policy
        copied = withhold(policy.program, withheld) if withheld else copy_program(policy.program)
        for predictor in copied.predictors():
            if predictor.lm is not None:
                predictor.lm = self.lm(predictor.lm, rollout)
        return Policy.of(copied)

    def _number(self, drawn: str) -> int:
        """63 random bits that belong to what is drawn."""
        return int.from_bytes(blake2b(f"{self.purpose}|{drawn}".encode(), digest_size=8).digest(), "big") >> 1
