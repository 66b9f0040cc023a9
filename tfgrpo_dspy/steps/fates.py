"""The fate of each candidate experience, told from what was decided, proposed and enacted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tfgrpo_dspy.library.experience import Source
from tfgrpo_dspy.library.similarity import normalised_tokens, overlap
from tfgrpo_dspy.records.advantages import Became, Contrast, Fate, SemanticAdvantage
from tfgrpo_dspy.records.updates import Enacted, Proposal
from tfgrpo_dspy.text import counted, one_line

logger = logging.getLogger(__name__)

UNTOLD = "no decision about it is on record, which is a defect of tfgrpo-dspy: please report it"
_BECAME: dict[str, Became] = {"add": "added", "modify": "merged", "keep": "said already", "delete": "corrected"}


class _Outcome(NamedTuple):
    """What became of an operation."""

    fate: Fate
    """Of a candidate that it rests on; its text is that of the entry."""
    counts: bool
    """False if another outcome goes before it: of what a candidate took out, and of what did not take effect."""


def fates_of(
    contrasts: Sequence[Contrast], advantages: Sequence[SemanticAdvantage], proposal: Proposal, enacted: Enacted
) -> tuple[Fate, ...]:
    """One fate per candidate: of those that extractions left out, then of those that went into the update."""
    left_out = [fate for c in contrasts if c.extraction is not None for fate in c.extraction.left_out]
    given = [(advantage, text) for advantage in advantages for text in advantage.experiences]
    decided = {(fate.group, fate.text): fate for fate in proposal.decided}
    carried = {(advantage.group, text) for advantage in proposal.carried for text in advantage.experiences}
    outcomes = dict[Source, list[_Outcome]]()
    for source, outcome in _outcomes(proposal, enacted):
        outcomes.setdefault(source, []).append(outcome)
    fates = []
    for advantage, text in given:
        key = advantage.group, text
        if key in carried:
            fates.append(Fate(*key, "carried", None, "nothing could be had about it"))
        elif key in decided and decided[key].became == "refused":
            fates.append(decided[key])
        else:
            fates.append(_fate(key, outcomes.get(advantage.source, ()), decided.get(key)))
    return (*left_out, *_one_of_each(fates, enacted))


def warn_of(step: int, fates: Sequence[Fate], proposal: Proposal) -> None:
    """Warn of candidates that an update failed for, and of those whose fate is not known; a paid run goes on."""
    carried = sum(fate.became == "carried" for fate in fates)
    failed = next((f for f in proposal.failures if f.stage == "update" and f.is_error), None)
    if carried and failed is not None:
        candidates = counted(carried, "candidate")
        logger.warning("step %d: the update failed for %s: %s", step, candidates, one_line(failed.reason))
    lost = sum(fate.why == UNTOLD for fate in fates)
    if lost:
        logger.warning("step %d: of %s %s", step, counted(lost, "candidate"), UNTOLD)


def _outcomes(proposal: Proposal, enacted: Enacted) -> Iterator[tuple[Source, _Outcome]]:
    for change in enacted.changes:
        if change.by in ("update", "person"):
            fate = Fate("", change.after or "", _BECAME[change.kind], change.id, change.reason)
            for source in change.sources:
                yield source, _Outcome(fate, change.kind != "delete")
    for refusal in enacted.refusals:
        became: Became = "refused" if refusal.repeats is None else "said already"
        fate = Fate("", getattr(refusal.operation, "text", ""), became, refusal.repeats, refusal.reason)
        for label in refusal.operation.sources:
            if label in proposal.sources:
                yield proposal.sources[label], _Outcome(fate, False)


def _fate(key: tuple[str, str], outcomes: Sequence[_Outcome], decided: Fate | None) -> Fate:
    """Of the outcomes of a group's operations the one that is nearest to the candidate."""
    words = normalised_tokens(key[1])
    best = max(outcomes, key=lambda o: (o.counts, overlap(words, normalised_tokens(o.fate.text))), default=None)
    if best is None:
        return Fate(*key, "refused", None, UNTOLD)
    found = replace(best.fate, group=key[0], text=key[1])
    if decided is not None and found.became == "merged":
        return replace(found, became=decided.became)
    return found


def _one_of_each(fates: Sequence[Fate], enacted: Enacted) -> Iterator[Fate]:
    """Of several candidates that became one new entry the nearest was added, and the others merged into it."""
    added = {change.id: normalised_tokens(change.after or "") for change in enacted.changes if change.kind == "add"}
    times = Counter(fate.id for fate in fates if fate.became == "added")
    first = {
        id: max(
            (i for i, fate in enumerate(fates) if (fate.became, fate.id) == ("added", id)),
            key=lambda i: (overlap(added.get(id, frozenset()), normalised_tokens(fates[i].text)), -i),
        )
        for id in times
    }
    for i, fate in enumerate(fates):
        is_other = fate.became == "added" and first[fate.id] != i
        yield replace(fate, became="merged") if is_other else fate
