"""Where an experience should show an effect: the tasks that it was learned from, and those like them; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from math import log, sqrt
from typing import NamedTuple

from tfgrpo_dspy.library.experience import Experience, Source
from tfgrpo_dspy.library.similarity import normalised_tokens
from tfgrpo_dspy.library.word_index import stem

LEAST = 0.01
"""Weight below which a task counts for nothing."""
_COMMON = 0.5
"""Share of the tasks from which a word that stands in them says nothing."""
_SPECIFIC = 0.03
"""Cosine of a text and a task that it was learned from, from which it speaks of it."""


class Reach(NamedTuple):
    """What an entry is about."""

    where: Mapping[str, float]
    """The tasks on which it should show an effect, with weights in (0, 1]; all alike if none can be told."""
    is_general: bool
    """Whether its text says nothing of the tasks that it was learned from, or of any, if none is known."""


class Likeness:
    """The tasks of a run, made ready to be compared by the words that they share, rare ones counting most.

    A task counts as much as the square of the cosine: on tasks of 16 kinds, about six of each, four fifths of the
    weight is then on the kind that an experience is about.

    Args:
        tasks: Name of each example (`e12`) to its inputs as text.
        known: Sources that speak of other examples than the run's: those of the library that it began with.
    """

    def __init__(self, tasks: Mapping[str, str], known: Collection[Source] = ()) -> None:
        self._known = frozenset(known)
        self._words = {name: _words_of(task) for name, task in tasks.items()}
        counts = Counter(word for words in self._words.values() for word in words)
        least = _COMMON * len(tasks)
        self._weights = {w: log((len(tasks) + 1) / (n + 0.5)) ** 2 for w, n in counts.items() if n < least or n == 1}
        self._places: Mapping[str, list[str]] = defaultdict(list)
        for name, words in self._words.items():
            for word in words & self._weights.keys():
                self._places[word].append(name)
        self._lengths = {name: self._length(words) for name, words in self._words.items()}

    def reach(self, entry: Experience) -> Reach:
        """What an entry is about."""
        named = (s.example for s in entry.provenance.sources if s not in self._known)
        sources = [name for name in dict.fromkeys(named) if name in self._words]
        by_text = self._cosines(_words_of(entry.text))
        found = dict(by_text)
        for source in sources:
            for name, cosine in self._cosines(self._words[source]).items():
                found[name] = max(found.get(name, 0.0), cosine)
        found |= dict.fromkeys(sources, 1.0)
        told = {name: cosine**2 for name, cosine in found.items() if cosine**2 >= LEAST}
        spoken = max((by_text.get(name, 0.0) for name in sources or by_text), default=0.0)
        return Reach(told or dict.fromkeys(self._words, 1.0), spoken < _SPECIFIC)

    def _cosines(self, words: Collection[str]) -> Mapping[str, float]:
        """Of the tasks that share a word with these."""
        length = self._length(words)
        shared: dict[str, float] = defaultdict(float)
        for word in sorted(words):
            for name in self._places.get(word, ()):
                shared[name] += self._weights[word]
        return {name: value / length / self._lengths[name] for name, value in shared.items() if value}

    def _length(self, words: Collection[str]) -> float:
        return sqrt(sum(self._weights.get(word, 0.0) for word in sorted(words)))


def _words_of(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in normalised_tokens(text))
