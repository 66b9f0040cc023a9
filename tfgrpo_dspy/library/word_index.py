"""Texts that share words with a query, rare words counting most: BM25 by the package bm25s, over words of our own.

What a word is has to hold for all scripts: those without blanks between words are taken apart into pairs of characters.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from tfgrpo_dspy.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_HAN = "\u3005\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WITHOUT_BLANKS = f"{_HAN}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\uac00-\ud7a3"
"""Chinese, Thai, Lao, Burmese, Khmer, Japanese; and Korean, whose blanks part more than words."""
_MARKS = "\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
"""Signs that belong to the letter before them, which `\\w` does not count as letters (and Indic letters)."""
_WORD = re.compile(rf"[{_WITHOUT_BLANKS}]+|(?:[{_MARKS}]|[^\W_{_WITHOUT_BLANKS}])+")
_UNPARTED = re.compile(rf"[{_WITHOUT_BLANKS}]")
_ASCII_WORD = re.compile("[a-z0-9]+")
_ENDINGS = ("ings", "ing", "ies", "ied", "es", "ed", "ly", "s", "e", "y")
_SHORTEST_STEM = 3


class Match(NamedTuple):
    """A text that fits a query."""

    position: int
    """Among the texts."""
    likeness: float
    """Above 0; the more, the better it fits, among the texts of one ranking and query."""


class WordIndex:
    """Texts, made ready to be searched; safe to share between threads.

    Raises:
        MissingExtraError: bm25s is not installed.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        check_bm25()
        words = [list(words_of(text)) for text in texts]
        self._index: Any = None
        if any(words):
            self._index = _bm25s().BM25()
            self._index.index(words, show_progress=False)

    def best(self, query: str, k: int) -> list[Match]:
        """The texts that share a word with a query, at most k, best first, of equals the first."""
        wanted = list(dict.fromkeys(words_of(query)))
        return matches(self._index.get_scores(wanted), k) if wanted and self._index is not None else []


def words_of(text: str) -> Iterator[str]:
    """What texts are compared by: words in lower case without English endings, those that say nothing left out.

    Of a script without blanks, each two characters that stand together; of Chinese ones each character too.
    """
    if text.isascii():
        found = _ASCII_WORD.findall(text.lower())
    else:
        found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    empty = _empty_words()
    for word in found:
        if _UNPARTED.match(word):
            yield from (word[i : i + 2] for i in range(max(len(word) - 1, 1)))
            yield from re.findall(rf"[{_HAN}]", word) if len(word) > 1 else ()
        elif word not in empty:
            yield stem(word)


def largest(scores: Array, k: int) -> list[int]:
    """Positions of the k largest scores above zero, largest first, of equals the first."""
    import numpy as np

    found = np.flatnonzero(scores > 0)
    if len(found) > k:
        least = np.partition(scores[found], len(found) - k)[len(found) - k]
        found = found[scores[found] >= least]
    ranked = found[np.argsort(-scores[found], kind="stable")]
    return [int(position) for position in ranked[:k]]


def matches(scores: Array, k: int) -> list[Match]:
    """The k largest scores above zero with their positions, largest first, of equals the first."""
    return [Match(position, float(scores[position])) for position in largest(scores, k)]


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its ending, so that `discounts` is found by `discounted`."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=1)
def _empty_words() -> frozenset[str]:
    """English words that say nothing of what a text is about."""
    return frozenset(_bm25s().stopwords.STOPWORDS_EN_PLUS)


def check_bm25() -> None:
    """Check, without importing it, that the package is there.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("bm25s") is None:
        raise MissingExtraError("BM25 needs bm25s: pip install 'tfgrpo-dspy[retrieval]'")


@lru_cache(maxsize=1)
def _bm25s() -> Any:
    import bm25s  # here, as only those who retrieve need it

    logging.getLogger("bm25s").setLevel(logging.NOTSET)  # it asks for every message, whatever was configured
    return bm25s
