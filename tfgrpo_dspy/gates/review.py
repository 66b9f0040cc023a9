"""A person between the update and the library: each proposed operation is accepted, edited or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.history.commits import Evidence
from tfgrpo_dspy.history.of_run import evidence_of
from tfgrpo_dspy.library.apply import Mandate
from tfgrpo_dspy.library.library import ExperienceLibrary, Refusal, operation_id
from tfgrpo_dspy.library.operations import Keep, Operation
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.runtime.journal import Memory, fingerprint
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.text import one_line


@dataclass(frozen=True, slots=True)
class Proposal:
    """An operation that waits for a decision."""

    step: int
    operation: Operation
    """Any but a Keep, which needs none."""
    before: str | None
    """Text of the experience that it would change or delete; None for an Add, and if there is no such experience."""
    evidence: tuple[Evidence, ...]
    """The groups it rests on."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a proposal.

    Raises:
        SettingsError: An edit without the operation to apply instead, or an operation without an edit.
    """

    verdict: Literal["accept", "refuse", "edit"]
    reason: str = ""
    """Why it was refused; recorded."""
    operation: Operation | None = None
    """For an edit: what to apply instead. Its text has the author "person"."""

    def __post_init__(self) -> None:
        if (self.verdict == "edit") != (self.operation is not None):
            raise SettingsError('a decision has an operation when its verdict is "edit", and only then')


Review = Callable[[ExperienceLibrary, Sequence[Proposal]], Sequence[Decision]]
"""Called in the thread that runs `compile`, with the library before the step and what the update proposes; returns one
decision per proposal, in order. To end the run at this point, in good order, it raises `ReviewStop`."""


def reviewed(
    review: Review | None, update: Update, advantages: Sequence[SemanticAdvantage], briefing: Briefing, memory: Memory
) -> Update:
    """The update with the operations that were accepted or edited, and refusals of the others.

    Decisions are remembered: a run that is taken up again does not ask twice.

    Raises:
        SettingsError: The review returned something else than a decision per proposal.
        ReviewStop: It ended the run.
    """
    proposed = [operation for operation in update.operations if not isinstance(operation, Keep)]
    if review is None or not proposed:
        return update
    proposals = _proposals(proposed, update, advantages, briefing)

    def decide() -> tuple[Decision, ...]:
        return _checked(review(briefing.library, proposals), proposals)

    name = f"review s{briefing.step} {fingerprint(briefing.experiences, *map(repr, proposed))}"
    decisions = memory.once(name, tuple[Decision, ...], decide)
    decided = list(zip(proposed, decisions, strict=True))
    edited = tuple(_edited(was, decision.operation) for was, decision in decided if decision.operation is not None)
    accepted = [operation for operation, decision in decided if decision.verdict == "accept"]
    kept = [operation for operation in update.operations if isinstance(operation, Keep)]
    refusals = tuple(
        Refusal(operation, f"a person refused it: {one_line(decision.reason) or 'no reason was given'}")
        for operation, decision in decided
        if decision.verdict == "refuse"
    )
    return replace(update, operations=(*accepted, *edited, *kept), edited=edited, refusals=refusals)


def _proposals(
    operations: Sequence[Operation], update: Update, advantages: Sequence[SemanticAdvantage], briefing: Briefing
) -> list[Proposal]:
    mandate = Mandate("updater", briefing.step, dict(update.sources or {}))
    known = {evidence.source: evidence for evidence in evidence_of(advantages)}
    texts = {experience.id: experience.text for experience in briefing.library}
    return [
        Proposal(
            briefing.step,
            operation,
            texts.get(operation_id(operation) or ""),
            tuple(known[source] for source in mandate.cited(operation) if source in known),
        )
        for operation in operations
    ]


def _checked(decisions: Sequence[Decision], proposals: Sequence[Proposal]) -> tuple[Decision, ...]:
    found = tuple(decisions)
    if len(found) != len(proposals) or not all(isinstance(decision, Decision) for decision in found):
        raise SettingsError(
            f"review must return one Decision for each of the {len(proposals)} proposals, in order; got {decisions!r}"
        )
    return found


def _edited(was: Operation, now: Operation) -> Operation:
    """What a person made of an operation; it rests on the same groups unless others are cited."""
    return now if now.sources else now.model_copy(update={"sources": was.sources})
