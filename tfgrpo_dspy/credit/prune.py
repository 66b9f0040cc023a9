"""Taking out what was measured to be harmful; pure.

Several entries are looked at, and several times. So an entry goes only if the interval of its effect lies below zero
and, among all entries measured, the expected share of false alarms stays within `FALSE_SHARE` (Benjamini and Hochberg,
1995); and before the run has all its evidence the interval is widened by 1 / sqrt(share of the steps done) (O'Brien and
Fleming, 1979), so that early looks cost the last one little. A pinned entry stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import erfc, sqrt

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Delete
from tfgrpo_dspy.records.effects import REACH, Effect

FALSE_SHARE = 0.1
"""Share of the entries taken out that may be harmless, in expectation."""


def harmful(effects: Iterable[Effect], share: float = 1.0) -> tuple[Effect, ...]:
    """The effects that are below zero beyond doubt, worst first.

    Args:
        effects: Of all entries that were measured.
        share: Of the run's steps that are done, in (0, 1].
    """
    ranked = sorted(effects, key=lambda effect: effect.z)
    scores = [effect.z * sqrt(share) for effect in ranked]
    found = [
        rank
        for rank, z in enumerate(scores, start=1)
        if z < -REACH and erfc(-z / sqrt(2)) / 2 <= FALSE_SHARE * rank / len(ranked)
    ]
    return tuple(ranked[: max(found, default=0)])


def prune(library: ExperienceLibrary, effects: Iterable[Effect], share: float = 1.0) -> list[Delete]:
    """Deletions of the harmful entries, with the reason.

    Args:
        library: After an update; an entry that this rewrote has no effect yet, and stays.
        effects: Of all entries that were measured.
        share: Of the run's steps that are done, in (0, 1].
    """
    texts = {(e.id, e.text) for e in library if not e.pinned}
    doomed = [effect for effect in harmful(effects, share) if (effect.id, effect.text) in texts]
    return [Delete(id=effect.id, reason=f"measured effect {effect.to_text()}") for effect in doomed]
