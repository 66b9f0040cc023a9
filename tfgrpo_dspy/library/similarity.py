"""Near-duplicates found without a model: the overlap of normalised tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

NEAR_DUPLICATE = 0.8
"""Token overlap (Jaccard, in [0, 1]) from which two experiences are taken for one (ours).

In the libraries that the paper's authors released (27 and 46 entries) no two overlap by more than 0.29. In ACE's
trained playbooks (318 and 359 entries) 36 and 40 pairs reach 0.8: copies, rewordings, and siblings that differ in one
word (oldest, newest), of which one entry can say both. Rewordings go on below, down to 0.55; those are the updater's.
"""

_PUNCTUATION = (
    r".,;:!?'\"\-\u00ab\u00b7\u00bb\u2010-\u201f\u2026\u3001\u3002\u300c-\u300f\uff01\uff0c\uff1a\uff1b\uff1f"
)
_WIDE = "\u1100-\u11ff\u2e80-\u3000\u3003-\u300b\u3010-\ua4cf\uac00-\ud7a3\uf900-\ufaff"  # scripts without blanks
_WORD = re.compile(rf"\\?[^\W{_WIDE}]+|[{_WIDE}]|[^\w\s{_PUNCTUATION}]")
_ASCII_WORD = re.compile(r"\\?\w+|[^\w\s.,;:!?'\"\-]")
_APART = {
    code: " " if chr(code) in ".,;:!?'\"-" else f" {chr(code)} "
    for code in range(128)
    if not re.match(r"[\w\s\\]", chr(code))
}
"""What `_ASCII_WORD` does to a text without a backslash, for `str.split`: twice as fast."""
_SAMPLE = 2_000
"""Entries, about, from which it is told which tokens are rare."""
_BLOCK = 500
"""Texts that are taken apart in one go."""


def normalised_tokens(text: str) -> frozenset[str]:
    """What near-duplicates are compared by: the set of lower-case words, symbols kept, punctuation dropped.

    A script without blanks counts each character as a word.
    """
    return frozenset(_words(text))


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard similarity of two token sets, in [0, 1]; 1 for two empty ones."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if a or b else 1.0


class TokenIndex:
    """Finds the entries that some texts repeat, without comparing each text with every entry.

    An entry whose Jaccard similarity with a text x is at least t shares ceil(t|x|) tokens with it or more, so it lacks
    at most |x| - ceil(t|x|) of them: it holds two of any |x| - ceil(t|x|) + 2 tokens of x, the probes of x. (Prefix
    filtering takes one probe less and asks for one; entries that hold a single one are many.) Only the holders of
    probes are indexed, and tokens that are rare in a sample of the entries make the best probes.

    Args:
        entries: Id and text of each entry, the ids all different.
        texts: The texts that will be asked about.
    """

    def __init__(self, entries: Sequence[tuple[str, str]], texts: Iterable[str]) -> None:
        asked = [_words(text) for text in texts]
        self._texts = dict(entries) if asked else {}
        every = len(entries) // _SAMPLE + 1
        self._frequency = Counter(word for _, text in entries[::every] for word in _words(text)) if asked else Counter()
        self._probes = {probe for words in asked for probe in self._probes_of(frozenset(words))}
        self._holders: dict[str, set[str]] = {probe: set() for probe in self._probes}
        for id, words in zip(self._texts, words_of_each(list(self._texts.values())), strict=True):
            for probe in self._probes.intersection(words):
                self._holders[probe].add(id)

    def add(self, id: str, text: str) -> None:
        """Take an entry in; its id must be new."""
        self._texts[id] = text
        for probe in self._probes.intersection(_words(text)):
            self._holders[probe].add(id)

    def remove(self, id: str) -> None:
        """Leave an entry out from now on."""
        for probe in self._probes.intersection(_words(self._texts.pop(id, ""))):
            self._holders[probe].discard(id)

    def near_duplicate(self, text: str, *, leaving_out: str | None) -> str | None:
        """Id of the entry that one of the texts repeats, or None.

        That is the most similar one at or above `NEAR_DUPLICATE`, of equals the one with the lowest id.
        """
        tokens = frozenset(_words(text))
        probes = self._probes_of(tokens)
        least = len(probes) - (len(tokens) - _least_shared(len(tokens)))
        held = Counter(chain.from_iterable(self._holders[probe] for probe in probes))
        similar = [id for id, count in held.items() if count >= least and id != leaving_out]
        scored = [(-overlap(tokens, normalised_tokens(self._texts[id])), len(id), id) for id in similar]
        best = min(scored, default=None)
        return best[2] if best is not None and -best[0] >= NEAR_DUPLICATE else None

    def _probes_of(self, tokens: frozenset[str]) -> list[str]:
        by_rarity = sorted(tokens, key=lambda token: (self._frequency[token], -len(token), token))
        return by_rarity[: len(tokens) - _least_shared(len(tokens)) + 2]


def _least_shared(size: int) -> int:
    """The fewest tokens that a set of this size shares with one that it nearly repeats."""
    least = int(NEAR_DUPLICATE * size)
    return least if least / size >= NEAR_DUPLICATE else least + 1  # as `overlap` divides, so that rounding agrees


def _words(text: str) -> list[str]:
    if not text.isascii():
        words = _WORD.findall(text.casefold())
    elif "\\" in text:
        words = _ASCII_WORD.findall(text.casefold())
    else:
        words = text.casefold().translate(_APART).split()
    return words or [""]  # so that a text without words is found to repeat another one


def words_of_each(texts: Sequence[str]) -> Iterator[list[str]]:
    """`_words` of each text; plain ones a block at a time, which is twice as fast."""
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        joined = "\n".join(block)
        if joined.isascii() and "\\" not in joined and joined.count("\n") == len(block) - 1:
            yield from (line.split() or [""] for line in joined.casefold().translate(_APART).split("\n"))
        else:
            yield from map(_words, block)
