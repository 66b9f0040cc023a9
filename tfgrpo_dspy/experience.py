"""The experience library E: an immutable value, and the one function that changes it.

`ExperienceLibrary.apply` is pure and total: old library and operations in, new library, changes and refusals out.
What cannot be done is refused with a reason, never repaired by guessing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from tfgrpo_dspy.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.rendering import count_words, estimate_tokens, one_line, quarter_tokens, render_lines
from tfgrpo_dspy.similarity import TokenIndex

Author = Literal["updater", "person", "import"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an insight came from: one training example and the rollouts of its group."""

    example: str
    """Name of the example, e.g. `e12`: its position in the trainset, from 0."""
    rollouts: tuple[str, ...] = ()
    """Names of the rollouts compared, e.g. `s1/e12/r0`."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How an experience came to be what it is."""

    author: Author = "person"
    created_step: int | None = None
    """Step that added it, from 1; None if no run did."""
    modified_step: int | None = None
    """Last step that changed its text; None if none did."""
    reason: str = ""
    """The reason given for its last change."""
    sources: tuple[Source, ...] = ()
    """Groups that speak for it, oldest first."""


@dataclass(frozen=True, slots=True)
class Experience:
    """One piece of advice in natural language, at best "When ..., do ..."."""

    id: str
    """`G` and a number; never reused, never renumbered."""
    text: str
    """One line."""
    pinned: bool = False
    """True: no update may change or delete it."""
    scope: str | None = None
    """Name of the only predictor that reads it, e.g. `extract.predict`; None for all that are conditioned."""
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that `apply` enforces; what would exceed one is refused."""

    max_experiences: int | None = None
    """Entries at most, > 0; None for no bound."""
    max_tokens: int | None = None
    """Estimated tokens of the rendered lines at most, > 0; None for no bound."""
    max_words: int | None = 32
    """Words of one experience at most, > 0 (32 in the paper's prompt); None for no bound."""


@dataclass(frozen=True, slots=True)
class Change:
    """An operation that took effect."""

    kind: Literal["add", "modify", "delete", "keep"]
    id: str | None
    """The experience concerned; None for a Keep of the whole library."""
    before: str | None
    """Its text before; None for an Add or a Keep of the whole library."""
    after: str | None
    """Its text after; None for a Delete or a Keep of the whole library."""
    reason: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An operation that did not take effect, and why."""

    operation: Operation
    reason: str
    repeats: str | None = None
    """Id of the entry it would have repeated, if that is the reason."""


class Applied(NamedTuple):
    """What `ExperienceLibrary.apply` returns."""

    library: ExperienceLibrary
    changes: tuple[Change, ...]
    """In the order in which they took effect: deletions, modifications, additions; Keeps last."""
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class ExperienceLibrary:
    """The library E (paper, section 3): an ordered, immutable set of experiences.

    Raises:
        ValueError: Two experiences share an id, or an id is not below `next_id`.
    """

    experiences: tuple[Experience, ...] = ()
    next_id: int = 0
    """Number of the next experience to be added; it only grows."""
    learned_with: tuple[str, ...] = ()
    """Names of the LMs that took part in learning it (policy and reflection), sorted."""

    def __post_init__(self) -> None:
        numbers = [id_number(e.id) for e in self.experiences]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two experiences share an id; every id may occur once")
        if numbers and max(numbers) >= self.next_id:
            raise ValueError(f"next_id is {self.next_id} but G{max(numbers)} exists; it must be larger than every id")

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, author: Author = "person") -> ExperienceLibrary:
        """A library of the given texts, ids in their order; blank texts are left out."""
        lines = [line for text in texts if (line := one_line(text))]
        made = tuple(Experience(f"G{i}", line, provenance=Provenance(author)) for i, line in enumerate(lines))
        return cls(made, next_id=len(made))

    def __len__(self) -> int:
        return len(self.experiences)

    def __iter__(self) -> Iterator[Experience]:
        return iter(self.experiences)

    def __contains__(self, id: object) -> bool:
        return any(e.id == id for e in self.experiences)

    def __getitem__(self, id: str) -> Experience:
        """The experience of that id; KeyError if there is none."""
        for e in self.experiences:
            if e.id == id:
                return e
        raise KeyError(id)

    @property
    def tokens(self) -> int:
        """Estimated tokens of its rendered lines."""
        return estimate_tokens(render_lines(self.experiences))

    def pin(self, id: str, pinned: bool = True) -> ExperienceLibrary:
        """The library with that experience pinned (or not); KeyError if there is none."""
        return self._with(replace(self[id], pinned=pinned))

    def scoped_to(self, predictor: str) -> tuple[Experience, ...]:
        """The experiences which the named predictor reads."""
        return tuple(e for e in self.experiences if e.scope in (None, predictor))

    def apply(
        self,
        operations: Iterable[Operation],
        *,
        step: int | None = None,
        author: Author = "updater",
        sources: Mapping[str, Source] | None = None,
        limits: Limits | None = None,
    ) -> Applied:
        """The library after the operations, with what changed and what was refused.

        All operations speak of the library as it is now. Deletions take effect first, then modifications, then
        additions, each in the given order, so that the outcome does not depend on how a model mixed them.

        Args:
            operations: Any number of operations.
            step: The step that asks for them, from 1.
            author: Who asks.
            sources: What the labels in `Operation.sources` stand for; an operation that cites no known label rests
                on all of them.
            limits: Bounds to enforce; the default bounds words only.

        Returns:
            New library, changes and refusals; every operation is in exactly one of the last two. Total: no input
            of these types raises.
        """
        application = _Application(self, step, author, dict(sources or {}), limits or Limits())
        ordered = sorted(operations, key=lambda operation: _PHASE[operation.op])
        for operation in ordered:
            application.take(operation)
        return application.outcome()

    def _with(self, changed: Experience) -> ExperienceLibrary:
        return replace(self, experiences=tuple(changed if e.id == changed.id else e for e in self.experiences))


_PHASE = {"delete": 0, "modify": 1, "add": 2, "keep": 3}
_ID = re.compile(r"G(0|[1-9][0-9]*)")


def id_number(id: str) -> int:
    """7 for `G7`; ValueError for anything else."""
    match = _ID.fullmatch(id)
    if match is None:
        raise ValueError(f"{id!r} is no experience id; ids are G0, G1, ...")
    return int(match[1])


class _Application:
    """One `apply` under way: the entries so far, and what has become of each operation."""

    def __init__(
        self,
        library: ExperienceLibrary,
        step: int | None,
        author: Author,
        sources: dict[str, Source],
        limits: Limits,
    ) -> None:
        self._library, self._step, self._author, self._sources, self._limits = library, step, author, sources, limits
        self._entries = {e.id: e for e in library.experiences}
        self._next_id = library.next_id
        self._touched: set[str] = set()
        self._index = TokenIndex((e.id, e.text) for e in library.experiences)
        self._quarters = sum(_quarters(e) for e in library.experiences)
        self._changes: list[Change] = []
        self._refusals: list[Refusal] = []

    def outcome(self) -> Applied:
        library = replace(self._library, experiences=tuple(self._entries.values()), next_id=self._next_id)
        return Applied(library, tuple(self._changes), tuple(self._refusals))

    def take(self, operation: Operation) -> None:
        match operation:
            case Add():
                self._add(operation)
            case Modify():
                self._modify(operation)
            case Delete():
                self._delete(operation)
            case Keep():
                self._keep(operation)

    def _add(self, operation: Add) -> None:
        text = one_line(operation.text)
        limit = self._limits.max_experiences
        if limit is not None and len(self._entries) >= limit:
            self._refuse(operation, f"the library is full: {len(self._entries)} of at most {limit} entries")
        elif self._accepts(operation, text, instead_of=None):
            new = Experience(f"G{self._next_id}", text, provenance=self._provenance(operation, None))
            self._next_id += 1
            self._put(operation, None, new)

    def _modify(self, operation: Modify) -> None:
        old, text = self._entries.get(operation.id), one_line(operation.text)
        if self._may_touch(operation, old) and old is not None and self._accepts(operation, text, instead_of=old):
            self._put(operation, old, replace(old, text=text, provenance=self._provenance(operation, old)))

    def _delete(self, operation: Delete) -> None:
        old = self._entries.get(operation.id)
        if self._may_touch(operation, old) and old is not None:
            self._put(operation, old, None)

    def _keep(self, operation: Keep) -> None:
        entry = self._entries.get(operation.id) if operation.id is not None else None
        if operation.id is not None and entry is None:
            self._refuse(operation, self._why_missing(operation.id))
        else:
            text = entry.text if entry else None
            self._record(operation, operation.id, text, text)

    def _may_touch(self, operation: Modify | Delete, entry: Experience | None) -> bool:
        if entry is None:
            return self._refuse(operation, self._why_missing(operation.id))
        if entry.pinned:
            return self._refuse(operation, f"{entry.id} is pinned")
        if entry.id in self._touched:
            return self._refuse(operation, f"{entry.id} was already changed in this update")
        return True

    def _accepts(self, operation: Add | Modify, text: str, *, instead_of: Experience | None) -> bool:
        words, limits = count_words(text), self._limits
        if not text:
            return self._refuse(operation, "the text is empty")
        if limits.max_words is not None and words > limits.max_words:
            return self._refuse(operation, f"{words} words, at most {limits.max_words} are allowed")
        if instead_of is not None and text == instead_of.text:
            return self._refuse(operation, f"the text is that of {instead_of.id} already", instead_of.id)
        twin = self._index.near_duplicate(text, leaving_out=instead_of.id if instead_of else None)
        if twin is not None:
            return self._refuse(operation, f"it repeats {twin}", twin)
        if limits.max_tokens is not None:
            id = instead_of.id if instead_of else f"G{self._next_id}"
            grown = self._quarters - (_quarters(instead_of) if instead_of else 0)
            tokens = (grown + _quarters(Experience(id, text)) + 2) // 4  # the last line has no break
            if tokens > limits.max_tokens:
                return self._refuse(
                    operation, f"it would make {tokens} tokens, at most {limits.max_tokens} are allowed"
                )
        return True

    def _put(self, operation: Add | Modify | Delete, old: Experience | None, new: Experience | None) -> None:
        if old is not None:
            self._index.remove(old.id)
            self._quarters -= _quarters(old)
            if new is None:
                del self._entries[old.id]
        if new is not None:
            self._index.add(new.id, new.text)
            self._quarters += _quarters(new)
            self._entries[new.id] = new
        id = new.id if new is not None else operation_id(operation)
        if id is not None:
            self._touched.add(id)
        self._record(operation, id, old.text if old else None, new.text if new else None)

    def _record(self, operation: Operation, id: str | None, before: str | None, after: str | None) -> None:
        cited = self._cited(operation)
        self._changes.append(Change(operation.op, id, before, after, one_line(operation.reason), cited))

    def _refuse(self, operation: Operation, reason: str, repeats: str | None = None) -> bool:
        self._refusals.append(Refusal(operation, reason, repeats))
        return False

    def _why_missing(self, id: str) -> str:
        return f"{id} was deleted in this update" if id in self._touched else f"there is no {one_line(id)}"

    def _cited(self, operation: Operation) -> tuple[Source, ...]:
        cited = tuple(self._sources[label] for label in operation.sources if label in self._sources)
        return cited or tuple(self._sources.values())

    def _provenance(self, operation: Add | Modify, old: Experience | None) -> Provenance:
        reason, cited = one_line(operation.reason), self._cited(operation)
        if old is None:
            return Provenance(self._author, self._step, None, reason, cited)
        earlier = old.provenance
        new = tuple(s for s in cited if s not in earlier.sources)
        return replace(
            earlier, author=self._author, modified_step=self._step, reason=reason, sources=earlier.sources + new
        )


def operation_id(operation: Operation) -> str | None:
    """The id an operation names; None for an Add."""
    return None if isinstance(operation, Add) else operation.id


def _quarters(experience: Experience) -> int:
    return quarter_tokens(render_lines((experience,))) + 1  # its line break
