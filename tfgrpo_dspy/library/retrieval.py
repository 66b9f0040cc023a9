"""Choosing, for one query, the experiences that fit it: for libraries too large to be read whole.

Pinned experiences are always chosen and come first, in library order, so that the beginning of a prompt stays the same
over queries and provider prefix caches hit; the others follow, in library order too. DSPy is not needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.text import estimate_tokens, shorten

if TYPE_CHECKING:
    import numpy as np

    from tfgrpo_dspy.library.word_index import Match, WordIndex

    Array = np.ndarray[Any, Any]


CUES, CUE_TOKENS = 5, 120
"""Tasks that an experience is found by at most, the latest first, and estimated tokens of each."""


@runtime_checkable
class Ranking(Protocol):
    """The texts of one library, made ready to be searched."""

    def best(self, query: str, k: int) -> Sequence[Match]:
        """The texts that fit a query, at most k, best first."""


@runtime_checkable
class Searchable(Protocol):
    """A way of retrieving: `BM25`, `Embedding`, or one of your own."""

    @property
    def k(self) -> int:
        """Experiences per query at most, pinned ones not counted."""

    def rank(self, texts: Sequence[str]) -> Ranking:
        """Make texts ready to be searched."""


Choice: TypeAlias = Callable[[str, ExperienceLibrary], Sequence[str]]
"""A function of query and library that returns the ids to be read."""
Retrieval: TypeAlias = Searchable | Choice
"""What `retrieval=` takes."""
Cues: TypeAlias = Mapping[str, tuple[str, ...]]
"""Id of an experience to tasks that it was learned from, shortened."""
Worth: TypeAlias = Mapping[str, float]
"""Id of an experience to what its likeness to a query is multiplied by, in [0, 1]; 1 for those that are not named."""


@dataclass(frozen=True, slots=True)
class BM25:
    """Words in common, rare ones counting most (Okapi BM25, by the package bm25s); needs no model, and hardly time.

    Words are compared without their English endings; a script without blanks is compared by pairs of characters.

    Raises:
        SettingsError: k is below 1.
    """

    k: int = 8
    """Experiences per query at most, pinned ones not counted."""
    tokens: int | None = None
    """Estimated tokens per query instead of `k`: what fits the query best first, then the rest; None for `k`."""

    def __post_init__(self) -> None:
        _check_size(self.k, self.tokens)

    def rank(self, texts: Sequence[str]) -> WordIndex:
        """Make texts ready to be searched.

        Raises:
            MissingExtraError: bm25s is not installed.
        """
        from tfgrpo_dspy.library.word_index import WordIndex

        return WordIndex(texts)


@dataclass(frozen=True)
class Embedding:
    """Nearness of meaning, by an embedding model; each text is embedded once.

    Args:
        model: A `dspy.Embedder`, any function of a list of texts that returns their vectors, or a model's name such as
            `openai/text-embedding-3-small`, of which a `dspy.Embedder` is made.
        k: Experiences per query at most, pinned ones not counted.
        tokens: Estimated tokens per query instead of `k`: what fits the query best first, then the rest; None for `k`.

    Raises:
        SettingsError: k or `tokens` is below 1.
    """

    model: Any
    k: int = 8
    tokens: int | None = None

    def __post_init__(self) -> None:
        _check_size(self.k, self.tokens)
        object.__setattr__(self, "_known", {})

    @cached_property
    def _embed(self) -> Callable[[list[str]], Any]:
        if not isinstance(self.model, str):
            embed: Callable[[list[str]], Any] = self.model
            return embed
        import dspy

        embedder: Callable[[list[str]], Any] = dspy.Embedder(self.model)
        return embedder

    def rank(self, texts: Sequence[str]) -> Vectors:
        """Make texts ready to be searched; only those that are new are embedded."""
        return Vectors(self.vectors(texts), self)

    def vectors(self, texts: Sequence[str]) -> Array:
        """One row per text, of length 1."""
        import numpy as np

        known: dict[str, Array] = vars(self)["_known"]
        if new := list(dict.fromkeys(text for text in texts if text not in known)):
            rows = np.asarray(self._embed(new), dtype=np.float32)
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            known.update(zip(new, rows / np.maximum(lengths, 1e-12), strict=True))
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)

    def vector(self, query: str) -> Array:
        """The vector of a query, of length 1; not kept."""
        import numpy as np

        row = np.asarray(self._embed([query]), dtype=np.float32)[0]
        found: Array = row / max(float(np.linalg.norm(row)), 1e-12)
        return found


@dataclass(frozen=True, slots=True)
class Vectors:
    """Texts as vectors of length 1, one per row."""

    rows: Array
    retrieval: Embedding

    def best(self, query: str, k: int) -> list[Match]:
        """The texts nearest to a query, at most k, nearest first."""
        if not len(self.rows):
            return []
        from tfgrpo_dspy.library.word_index import matches

        return matches(self.rows @ self.retrieval.vector(query), k)


@dataclass(frozen=True)
class Shelf:
    """One library, made ready to be searched when it is first asked; safe to share, as nothing of it changes.

    An experience is found by its text and by its cues: tasks that it was learned from, to which a query is often more
    alike than to advice. What is worth less than others, as was measured, has to fit a query better.
    """

    library: ExperienceLibrary
    retrieval: Retrieval
    cues: Cues = field(default_factory=dict)
    worth: Worth = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Shelf:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # what was made ready is made anew elsewhere

    def select(self, *queries: str) -> tuple[Experience, ...]:
        """What one reads for the queries together: pinned experiences, then those chosen for any, in library order."""
        chosen = {id for query in queries for id in self._chosen(query)}
        places = sorted(place for id in chosen if (place := self._places[id]) not in self._pinned)
        return tuple(self.library.experiences[place] for place in (*self._pinned, *places))

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each experience stands in the library."""
        return {e.id: place for place, e in enumerate(self.library)}

    @cached_property
    def _pinned(self) -> dict[int, str]:
        """Where pinned experiences stand."""
        return {place: e.id for place, e in enumerate(self.library) if e.pinned}

    @cached_property
    def told(self) -> str:
        """All that decides what is chosen: the way of retrieving and the experiences."""
        entries = "\n".join(
            f"{e.id} {e.pinned} {e.scope} {e.text} {self.cues.get(e.id)} {self.worth.get(e.id, 1.0)}"
            for e in self.library
        )
        return f"{described(self.retrieval)}\n{entries}"

    def _chosen(self, query: str) -> set[str]:
        if not isinstance(self.retrieval, Searchable):
            ids = set(self.retrieval(query, self.library))
            if unknown := ids - self._places.keys():
                raise SettingsError(f"retrieval returned {min(unknown)!r}, which is no id of the library")
            return ids
        tokens = getattr(self.retrieval, "tokens", None)
        if tokens is not None:
            return self._within(query, tokens)
        k, texts = self.retrieval.k, 1 + max(map(len, self.cues.values()), default=0)
        doubted = sum(worth < 1 for worth in self.worth.values())
        most = texts * (k + doubted)  # so that k of them are of different experiences, whatever falls behind
        return set(self._ranked(query, most)[:k])

    def _ranked(self, query: str, most: int) -> list[str]:
        """Ids of the experiences to which the texts belong that fit a query, by likeness times worth."""
        ranking, owners = self._ready
        found: dict[str, float] = {}
        for match in ranking.best(query, most) if ranking else ():
            id = owners[match.position]
            found.setdefault(id, match.likeness * self.worth.get(id, 1.0))
        return sorted((id for id, value in found.items() if value > 0), key=lambda id: -found[id])

    def _within(self, query: str, tokens: int) -> set[str]:
        """As many as fit into the tokens, by use."""
        from tfgrpo_dspy.library.useful import by_use

        found = self._ranked(query, len(self._ready[1]))
        chosen, left = set[str](), tokens
        for id in by_use(found, self._free, self.worth):
            left -= self._sizes[id]
            if left < 0:
                break
            chosen.add(id)
        return chosen

    @cached_property
    def _free(self) -> tuple[Experience, ...]:
        return tuple(e for e in self.library if not e.pinned)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Estimated tokens of each entry's line."""
        return {e.id: estimate_tokens(render_lines([e])) for e in self._free}

    @cached_property
    def _ready(self) -> tuple[Ranking | None, list[str]]:
        """The ranking of all that can be found, and the id that each text stands for."""
        free = self._free
        told = [(e.id, e.text) for e in free] + [(e.id, cue) for e in free for cue in self.cues.get(e.id, ())]
        if not told or not isinstance(self.retrieval, Searchable):
            return None, []
        return self.retrieval.rank([text for _, text in told]), [id for id, _ in told]


def read_bm25(text: str) -> BM25:
    """`8` as `BM25(8)`, `600 tokens` as `BM25(tokens=600)`.

    Raises:
        ValueError: It is neither.
    """
    number, _, unit = text.strip().partition(" ")
    return BM25(tokens=int(number)) if unit == "tokens" else BM25(int(text))


def _check_size(k: int, tokens: int | None) -> None:
    if type(k) is not int or k < 1:
        raise SettingsError(f"k, the experiences per query, must be a whole number >= 1, got {k!r}")
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise SettingsError(f"tokens, those of the experiences per query, must be a whole number >= 1, got {tokens!r}")


def can_retrieve(retrieval: object) -> bool:
    """Whether that can be given as `retrieval=`."""
    return not isinstance(retrieval, type) and (isinstance(retrieval, Searchable) or callable(retrieval))


def check_retrieval(retrieval: object) -> None:
    """Check what was given as `retrieval=`.

    Raises:
        SettingsError: It cannot retrieve.
        MissingExtraError: It needs a package that is not installed.
    """
    if isinstance(retrieval, BM25):
        from tfgrpo_dspy.library.word_index import check_bm25

        check_bm25()
    if retrieval is not None and not can_retrieve(retrieval):
        raise SettingsError(
            f"retrieval must be BM25(k), Embedding(model, k), or a function of query and library that returns ids, "
            f"got {retrieval!r}"
        )


def state_of(retrieval: Retrieval) -> dict[str, Any]:
    """What is saved of a way of retrieving: JSON values."""
    if isinstance(retrieval, BM25):
        return {"kind": "bm25", **_size_of(retrieval)}
    if isinstance(retrieval, Embedding):
        model = getattr(retrieval.model, "model", retrieval.model)  # a `dspy.Embedder` holds a name or a function
        named = model if isinstance(model, str) else None
        return {"kind": "embedding", **_size_of(retrieval), "model": named}
    return {"kind": "own", "name": name_of(retrieval)}


def _size_of(retrieval: BM25 | Embedding) -> dict[str, int]:
    return {"k": retrieval.k} if retrieval.tokens is None else {"tokens": retrieval.tokens}


def name_of(function: object) -> str:
    """A name for a function or an object like one, the same in every process."""
    if is_dataclass(function):
        return repr(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def described(retrieval: Retrieval | None) -> str | None:
    """A way of retrieving in a few words, the same in every process."""
    return None if retrieval is None else " ".join(f"{name}={value}" for name, value in state_of(retrieval).items())


def restored(state: Mapping[str, Any], given: Retrieval | None) -> Retrieval:
    """The way of retrieving that was saved; one that holds a function of your own has to be given again.

    Raises:
        SettingsError: It has to be given, and was not.
    """
    size = {name: state[name] for name in ("k", "tokens") if isinstance(state.get(name), int)}
    match state:
        case {"kind": "bm25"} if size:
            return BM25(**size)
        case {"kind": "embedding", "model": str(model)} if size:
            is_same = isinstance(given, Embedding) and _size_of(given) == size
            return given if is_same and given is not None else Embedding(model, **size)
        case {"kind": "embedding"} if size and isinstance(given, Embedding):
            return given if _size_of(given) == size else Embedding(given.model, **size)
        case {"kind": "own"} if given is not None and not isinstance(given, BM25 | Embedding):
            return given
    raise SettingsError(
        f"this program retrieves with {dict(state)!r}, which a file cannot hold: give it again, "
        "Retrieving(program, retrieval=...), and load then"
    )


def cues_of(library: ExperienceLibrary, tasks: Mapping[str, str], known: ExperienceLibrary) -> Cues:
    """What the experiences of a run can be found by: the tasks of the groups that speak for them.

    Args:
        library: As learned.
        tasks: Name of an example of the run, e.g. `e12`, to its inputs as text.
        known: The library that the run started from: groups that spoke for an experience already are not the run's.
    """
    before = {e.id: set(e.provenance.sources) for e in known}
    named = {
        e.id: dict.fromkeys(s.example for s in reversed(e.provenance.sources) if s not in before.get(e.id, ()))
        for e in library
    }
    kept = {id: [tasks[name] for name in names if name in tasks][:CUES] for id, names in named.items()}
    return {id: tuple(shorten(task, CUE_TOKENS) for task in found) for id, found in kept.items() if found}
