"""Which entries are near to some texts, and which texts are alike: by shared words, rare ones counting most; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import TYPE_CHECKING, Any, TypeVar

from tfgrpo_dspy.library.similarity import normalised_tokens, words_of_each
from tfgrpo_dspy.library.word_index import largest, stem

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

T = TypeVar("T")

NEAR = 0.15
"""Share of a text's weighted words from which an entry counts as near to it (ours)."""
ALIKE = 0.3
"""Share of the weighted words of the longer one from which two texts count as alike (ours)."""
_EMPTY = frozenset(
    "a about also an and any are as at be before being but by can do does each for from has have if in into is it "
    "its more must no not of on one only or other should so such than that the their them then there these they "
    "this to use used using when where which while will with you your".split()
)


class Nearness:
    """Finds entries that share words with texts that are known beforehand: only their words are looked up.

    Time grows with the entries once, when it is made, and hardly with each question after that.
    """

    def __init__(self, entries: Sequence[tuple[str, str]], texts: Sequence[str]) -> None:
        import numpy as np

        asked = [_words(text) for text in texts]
        self._words = dict(zip(texts, asked, strict=True))
        wanted = frozenset[str]().union(*asked)
        self._ids = [id for id, _ in entries]
        places: dict[str, list[int]] = {word: [] for word in wanted}
        if wanted:
            for place, words in enumerate(words_of_each([text for _, text in entries])):
                for word in wanted.intersection(map(stem, words)):
                    places[word].append(place)
        self._places: Mapping[str, Array] = {word: np.array(found, dtype=np.int64) for word, found in places.items()}
        total = len(entries) + len(asked)
        held = {word: len(found) + sum(word in words for words in asked) for word, found in places.items()}
        self._weights = {word: log(1 + total / held[word]) for word in wanted}

    def near(self, text: str, k: int) -> list[str]:
        """Ids of the entries near to one of the texts, at most k, nearest first, of equals the first."""
        import numpy as np

        words = self._words[text]
        scores = np.zeros(len(self._ids))
        for word in sorted(words):
            scores[self._places[word]] += self._weights[word]
        least = NEAR * self._weight(words)
        return [self._ids[place] for place in largest(scores, k) if scores[place] >= least]

    def are_alike(self, a: str, b: str) -> bool:
        """Whether two of the texts share much of what they say."""
        left, right = self._words[a], self._words[b]
        longer = max(self._weight(left), self._weight(right))
        return self._weight(left & right) >= ALIKE * longer

    def bundled(self, items: Sequence[T], text_of: Callable[[T], str], most: int) -> list[list[T]]:
        """The items in bundles of alike ones, at most so many in each; order is kept within and between them."""
        bundles: list[list[T]] = []
        for item in items:
            fitting = (
                b for b in bundles if len(b) < most and any(self.are_alike(text_of(item), text_of(o)) for o in b)
            )
            found = next(fitting, None)
            if found is None:
                bundles.append([item])
            else:
                found.append(item)
        return bundles

    def _weight(self, words: frozenset[str]) -> float:
        return sum(self._weights.get(word, 0.0) for word in words)


def content_words(text: str) -> frozenset[str]:
    """The words of a text without those that every text has."""
    return normalised_tokens(text) - _EMPTY


def _words(text: str) -> frozenset[str]:
    return frozenset(map(stem, content_words(text))) or frozenset({""})
