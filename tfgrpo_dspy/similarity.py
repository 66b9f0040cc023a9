"""Near-duplicates found without a model: the overlap of normalised tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable

NEAR_DUPLICATE = 0.8
"""Token overlap (Jaccard, in [0, 1]) from which two experiences are taken for one. Ours: below it, in the released
libraries of the paper's authors, only different advice is found."""

_WORD = re.compile(r"\\?\w+|[^\w\s]")
_PUNCTUATION = frozenset(".,;:!?'\"-")


def normalised_tokens(text: str) -> frozenset[str]:
    """What near-duplicates are compared by: the set of lower-case words, symbols kept, punctuation dropped."""
    return frozenset(w for w in _WORD.findall(text.casefold()) if w not in _PUNCTUATION)


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard similarity of two token sets, in [0, 1]; 1 for two empty ones."""
    return len(a & b) / len(a | b) if a or b else 1.0


class TokenIndex:
    """Finds the entry that a text repeats without comparing it with every entry.

    Two sets with a Jaccard similarity of at least t share one of the (1 - t)|x| + 1 rarest tokens of either, so
    only entries that hold a rare token of the text are compared (prefix filtering).
    """

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._tokens: dict[str, frozenset[str]] = {}
        self._holders: dict[str, set[str]] = {}
        for id, text in entries:
            self.add(id, text)

    def add(self, id: str, text: str) -> None:
        tokens = self._tokens[id] = normalised_tokens(text)
        for token in tokens:
            self._holders.setdefault(token, set()).add(id)

    def remove(self, id: str) -> None:
        for token in self._tokens.pop(id):
            self._holders[token].discard(id)

    def near_duplicate(self, text: str, *, leaving_out: str | None) -> str | None:
        """Id of the most similar entry at or above `NEAR_DUPLICATE` (the lowest id of equals), or None."""
        tokens = normalised_tokens(text)
        by_rarity = sorted(tokens, key=lambda token: (len(self._holders.get(token, ())), token))
        prefix = by_rarity[: int(len(tokens) * (1 - NEAR_DUPLICATE)) + 1]
        candidates = set().union(*(self._holders.get(token, ()) for token in prefix)) - {leaving_out}
        scored = [(-overlap(tokens, self._tokens[id]), len(id), id) for id in candidates]
        best = min(scored, default=None)
        return best[2] if best is not None and -best[0] >= NEAR_DUPLICATE else None
