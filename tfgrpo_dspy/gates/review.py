"""A person between the update and the library: each proposed operation is accepted, edited or refused."""

from __future__ import annotations

from collections.abc import Sequence

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import Hearing
from tfgrpo_dspy.library.apply import Mandate, Refusal
from tfgrpo_dspy.library.operations import operation_id
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.records.advantages import evidence_of
from tfgrpo_dspy.records.decisions import Decision, Proposed, Review
from tfgrpo_dspy.records.updates import Ruling
from tfgrpo_dspy.text import one_line


def reviewed(review: Review, hearing: Hearing) -> Ruling:
    """The operations that were accepted, those written in place of others, and refusals of the rest.

    Decisions are remembered: a run that is taken up again does not ask twice.

    Raises:
        SettingsError: The review returned something else than a decision per operation.
        ReviewStop: It ended the run.
    """
    known = {evidence.source: evidence for evidence in evidence_of(hearing.advantages.values())}
    cited = Mandate("updater", hearing.briefing.step, hearing.proposal.sources).cited
    texts = {experience.id: experience.text for experience in hearing.library}
    proposed = [
        Proposed(
            hearing.briefing.step,
            operation,
            texts.get(operation_id(operation) or ""),
            tuple(known[source] for source in cited(operation) if source in known),
            hearing.proposal.by.get(operation, "update"),
        )
        for operation in hearing.operations
    ]

    def decide() -> tuple[Decision, ...]:
        return _checked(review(hearing.library, proposed), proposed)

    name = f"review s{hearing.briefing.step}"
    told = (render_lines(hearing.library), *(repr(p.operation) for p in proposed))
    decisions = hearing.workers.remember(name, tuple[Decision, ...], decide, reads=told)
    accepted, edited, refusals = [], [], []
    for was, decision in zip(hearing.operations, decisions, strict=True):
        if decision.operation is not None:
            now = decision.operation  # it rests on the same groups unless others are cited
            edited.append(now if now.sources else now.model_copy(update={"sources": was.sources}))
        elif decision.verdict == "accept":
            accepted.append(was)
        else:
            reason = one_line(decision.reason) or "no reason was given"
            refusals.append(Refusal(was, f"a person refused it: {reason}"))
    return Ruling((*accepted, *edited), tuple(refusals))


def _checked(decisions: Sequence[Decision], proposed: Sequence[Proposed]) -> tuple[Decision, ...]:
    found = tuple(decisions)
    if len(found) != len(proposed) or not all(isinstance(decision, Decision) for decision in found):
        raise SettingsError(
            f"review must return one Decision for each of the {len(proposed)} operations, in order; got {decisions!r}"
        )
    return found
