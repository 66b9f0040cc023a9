"""Texts that share words with a query, rare words counting most: BM25 over an inverted index of numpy arrays; pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.library.similarity import words_of_each

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SATURATION, _LENGTH = 1.5, 0.75
"""k1 and b of BM25, at their usual values."""
_COMMON, _MANY = 0.25, 1_000
"""Words that more than this share of the entries hold are passed over in libraries of so many: they tell entries hardly
apart, and take most of the time."""
_ENDINGS = ("ings", "ing", "ies", "ied", "es", "ed", "ly", "s", "e", "y")
_SHORTEST_STEM = 3
_EMPTY = frozenset(
    "a about after all also an and any are as at be been before but by can could did do does each for from get had "
    "has have he her his how i if in into is it its just like made make may more most must my new no not of on once "
    "one only or other our out over own per s same she should so some such take taken than that the their them then "
    "there these they this those to too up use very was we were what when where which while who will with would you "
    "your".split()
) | {""}
"""English words that say nothing of what a text is about."""


class InvertedIndex:
    """An inverted index: for each word, the texts that hold it and what it adds to their scores.

    Args:
        texts: To be searched.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        import numpy as np

        self._size = len(texts)
        self._numbers: dict[str, int] = {}
        held = [self._numbered(words) for words in words_of_each(texts)]
        lengths = np.fromiter(map(len, held), np.int64, len(held))
        owners = np.repeat(np.arange(len(held), dtype=np.int32), lengths)
        words = np.fromiter((word for found in held for word in found), np.int32, int(lengths.sum()))
        order = np.argsort(words, kind="stable")
        self._owners, counts = owners[order], np.bincount(words, minlength=len(self._numbers))
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        rarity = np.log1p((self._size - counts + 0.5) / (counts + 0.5))
        relative = lengths / max(float(lengths.mean()), 1.0) if len(held) else lengths
        weight = (_SATURATION + 1) / (1 + _SATURATION * (1 - _LENGTH + _LENGTH * relative))
        self._adds = (rarity[words[order]] * weight[self._owners]).astype(np.float32)
        self._common = self._size * _COMMON if self._size >= _MANY else self._size

    def best(self, query: str, k: int) -> list[int]:
        """Positions of the texts that fit a query, at most k, best first, of equals the first."""
        import numpy as np

        scores = np.zeros(self._size, np.float32)
        (words,) = words_of_each([query])
        for word in dict.fromkeys(stem(word) for word in words if word not in _EMPTY):
            if (number := self._numbers.get(word)) is None:
                continue
            start, end = self._starts[number], self._starts[number + 1]
            if end - start <= self._common:
                scores[self._owners[start:end]] += self._adds[start:end]
        return largest(scores, k)

    def _numbered(self, words: Sequence[str]) -> set[int]:
        numbers = self._numbers
        return {numbers.setdefault(stem(word), len(numbers)) for word in words if word not in _EMPTY}


def largest(scores: Array, k: int) -> list[int]:
    """Positions of the k largest scores above zero, largest first, of equals the first."""
    import numpy as np

    if len(scores) > k:
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        found = np.flatnonzero(scores >= max(float(least), np.finfo(np.float32).tiny))
    else:
        found = np.flatnonzero(scores > 0)
    ranked = found[np.argsort(-scores[found], kind="stable")]
    return [int(position) for position in ranked[:k]]


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its ending, so that `discounts` is found by `discounted`."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word
