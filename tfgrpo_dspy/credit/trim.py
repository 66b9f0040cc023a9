"""Keeping a library within a bound on its tokens by taking out entries; pure.

The entry with the lowest measured effect (shrunken, as the best guess of each) goes first; one that was not measured
counts as zero. Of equals goes the one
that the latest step added (those that no step added stay longest), then the one that fewest groups speak for, then the
one with the highest id: if the oldest went, the next step would learn it anew and pay again. Pinned entries stay.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from tfgrpo_dspy.library.experience import Experience, id_number
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Delete
from tfgrpo_dspy.library.section import CountTokens, tokens_of
from tfgrpo_dspy.library.similarity import normalised_tokens, overlap
from tfgrpo_dspy.records.effects import Effect

ALIKE = 0.5
"""Token overlap from which two entries are proposed for merging: below it, hardly any say the same (see
`similarity.NEAR_DUPLICATE`, from which they are taken for one)."""
_COMPARED = 2_000
"""Entries, the last ones, among which pairs are looked for: each is compared with each."""


def alike_pairs(library: ExperienceLibrary) -> tuple[tuple[str, str], ...]:
    """Ids of entries that say nearly the same, the most alike first; pairs of two pinned ones left out."""
    entries = [(e, normalised_tokens(e.text)) for e in library.experiences[-_COMPARED:]]
    found = [
        (-overlap(words, others), a.id, b.id)
        for i, (a, words) in enumerate(entries)
        for b, others in entries[i + 1 :]
        if not (a.pinned and b.pinned) and overlap(words, others) >= ALIKE
    ]
    return tuple((a, b) for _, a, b in sorted(found))


def trim(
    library: ExperienceLibrary,
    max_tokens: int,
    *,
    count: CountTokens | None = None,
    effects: Iterable[Effect] = (),
) -> list[Delete]:
    """Deletions of as many entries as exceed the bound, with the reason.

    Args:
        library: After an update.
        max_tokens: Of its rendered lines; only if pinned entries alone exceed it, what is left does too.
        count: Counts the tokens of a text; None estimates them.
        effects: What was measured; for texts that were rewritten since it does not count.
    """
    total = tokens_of(library, count)
    if total <= max_tokens:
        return []
    measured = {(effect.id, effect.text): effect for effect in effects}
    free = [e for e in library if not e.pinned]
    order = sorted(free, key=lambda e: _worth(e, measured.get((e.id, e.text))))

    def fits(gone: int) -> bool:
        ids = {e.id for e in order[:gone]}
        return tokens_of((e for e in library if e.id not in ids), count) <= max_tokens

    gone = bisect_left(range(len(order)), True, key=fits)  # all of them if not even that is enough
    why = f"the library had {total} tokens, at most {max_tokens} are allowed, and it"
    return [Delete(id=e.id, reason=f"{why} {_told(measured.get((e.id, e.text)))}") for e in order[:gone]]


def _worth(entry: Experience, effect: Effect | None) -> tuple[float, int, int, int]:
    provenance = entry.provenance
    return (
        effect.shrunken if effect is not None else 0.0,
        -(provenance.created_step or 0),
        len(provenance.sources),
        -id_number(entry.id),
    )


def _told(effect: Effect | None) -> str:
    return "was the newest left" if effect is None else f"had the lowest measured effect left: {effect.to_text()}"
