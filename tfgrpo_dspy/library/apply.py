"""What operations do to experiences: each takes effect, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tfgrpo_dspy.library.experience import Author, Experience, Provenance, Source
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.library.similarity import TokenIndex
from tfgrpo_dspy.text import count_words, one_line, quarter_tokens


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that `apply` enforces; what would exceed one is refused."""

    max_experiences: int | None = None
    """Entries at most, > 0; None for no bound."""
    max_tokens: int | None = None
    """Estimated tokens of the rendered lines at most, > 0; None for no bound."""
    max_words: int | None = 32
    """Words of one experience at most, > 0 (32 in the paper's prompt); None for no bound."""


By = Literal["update", "trial", "condense", "trim", "person"]
"""What asks for an operation: the update, what follows it in the same proposal, or the person who rewrote it."""


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
    by: By = "update"
    """What asked for it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An operation that did not take effect, and why."""

    operation: Operation
    reason: str
    repeats: str | None = None
    """Id of the entry it would have repeated, if that is the reason."""


@dataclass(frozen=True, slots=True)
class Mandate:
    """Who asks for operations, when, and on what evidence."""

    author: Author
    step: int | None
    """The step that asks, from 1; None if no run does."""
    sources: Mapping[str, Source]
    """What the labels in `Operation.sources` stand for."""
    by: Mapping[Operation, By] = field(default_factory=dict)
    """What asks for an operation, where that is not the update."""

    def cited(self, operation: Operation) -> tuple[Source, ...]:
        """What an operation rests on, each source once."""
        return tuple(dict.fromkeys(self.sources[label] for label in operation.sources if label in self.sources))

    def provenance(self, operation: Add | Modify, old: Experience | None) -> Provenance:
        """The provenance of the text that an operation writes, in place of an old one if there was one."""
        reason, cited = one_line(operation.reason), self.cited(operation)
        author: Author = "person" if self.by.get(operation) == "person" else self.author
        if old is None:
            return Provenance(author, self.step, None, reason, cited)
        earlier = old.provenance
        sources = earlier.sources + tuple(source for source in cited if source not in earlier.sources)
        return replace(earlier, author=author, modified_step=self.step, reason=reason, sources=sources)


class Application:
    """Operations on their way into a library: the entries so far, and what has become of each operation.

    Args:
        experiences: The library's entries.
        next_id: Number of the next entry to be added.
        mandate: Who asks.
        limits: Bounds to enforce.
    """

    def __init__(self, experiences: Sequence[Experience], next_id: int, mandate: Mandate, limits: Limits) -> None:
        self.entries = {e.id: e for e in experiences}
        """The entries as they are now, by id, in library order."""
        self.next_id = next_id
        self.changes: list[Change] = []
        self.refusals: list[Refusal] = []
        self._mandate, self._limits = mandate, limits
        self._touched: set[str] = set()
        bounded = limits.max_tokens is not None and len(experiences) > 0
        self._quarters = quarter_tokens(render_lines(experiences)) + 1 if bounded else 0  # a break after every line
        self._index = TokenIndex([], [])

    def take_all(self, operations: Iterable[Operation]) -> None:
        """Carry out operations of one update: deletions, modifications, additions, then Keeps; once per application."""
        ordered = sorted(operations, key=lambda operation: _PHASE[operation.op])
        texts = [one_line(operation.text) for operation in ordered if isinstance(operation, Add | Modify)]
        self._index = TokenIndex([(e.id, e.text) for e in self.entries.values()], texts)
        for operation in ordered:
            match operation:
                case Add():
                    self._add(operation)
                case Modify():
                    self._modify(operation)
                case Delete():
                    old = self._entry_to_change(operation)
                    if old is not None:
                        self._put(operation, old, None)
                case Keep():
                    self._keep(operation)

    def _add(self, operation: Add) -> None:
        limit = self._limits.max_experiences
        if limit is not None and len(self.entries) >= limit:
            self._refuse(operation, f"the library is full: {len(self.entries)} of at most {limit} entries")
            return
        new = Experience(
            f"G{self.next_id}",
            one_line(operation.text),
            scope=operation.scope,
            provenance=self._mandate.provenance(operation, None),
        )
        if self._accepts(operation, new, None):
            self.next_id += 1
            self._put(operation, None, new)

    def _modify(self, operation: Modify) -> None:
        old = self._entry_to_change(operation)
        if old is not None:
            provenance = self._mandate.provenance(operation, old)
            new = replace(old, text=one_line(operation.text), provenance=provenance)
            if self._accepts(operation, new, old):
                self._put(operation, old, new)

    def _keep(self, operation: Keep) -> None:
        entry = self.entries.get(operation.id) if operation.id is not None else None
        if operation.id is not None and entry is None:
            self._refuse(operation, self._why_missing(operation.id))
        else:
            text = entry.text if entry else None
            self._record(operation, operation.id, text, text)

    def _entry_to_change(self, operation: Modify | Delete) -> Experience | None:
        """The entry an operation names, or None after refusing."""
        entry = self.entries.get(operation.id)
        if entry is None:
            self._refuse(operation, self._why_missing(operation.id))
        elif entry.pinned:
            self._refuse(operation, f"{entry.id} is pinned")
        elif entry.id in self._touched:
            self._refuse(operation, f"{entry.id} was already changed in this update")
        else:
            return entry
        return None

    def _accepts(self, operation: Add | Modify, new: Experience, old: Experience | None) -> bool:
        """Whether a text may enter; refuses the operation if not."""
        words, max_words = count_words(new.text), self._limits.max_words
        if not new.text:
            return self._refuse(operation, "the text is empty")
        if max_words is not None and words > max_words:
            return self._refuse(operation, f"{words} words, at most {max_words} are allowed")
        if old is not None and new.text == old.text:
            return self._refuse(operation, f"the text is that of {old.id} already", old.id)
        twin = self._index.near_duplicate(new.text, leaving_out=old.id if old else None)
        if twin is not None:
            return self._refuse(operation, f"it repeats {twin}", twin)
        growth = _quarters(new) - (_quarters(old) if old else 0)
        tokens = (self._quarters + growth + 2) // 4  # rounded up, without the last break
        limit = self._limits.max_tokens
        if limit is None or tokens <= limit or growth <= 0:
            return True
        return self._refuse(operation, f"it would make {tokens} tokens, at most {limit} are allowed")

    def _put(self, operation: Add | Modify | Delete, old: Experience | None, new: Experience | None) -> None:
        if old is not None:
            self._index.remove(old.id)
            self._quarters -= _quarters(old)
            self._touched.add(old.id)
        if new is not None:
            self._index.add(new.id, new.text)
            self._quarters += _quarters(new)
            self.entries[new.id] = new
            self._touched.add(new.id)
        elif old is not None:
            del self.entries[old.id]
        concerned = new or old
        self._record(
            operation, concerned.id if concerned else None, old.text if old else None, new.text if new else None
        )

    def _record(self, operation: Operation, id: str | None, before: str | None, after: str | None) -> None:
        cited = self._mandate.cited(operation)
        by = self._mandate.by.get(operation, "update")
        self.changes.append(Change(operation.op, id, before, after, one_line(operation.reason), cited, by))

    def _refuse(self, operation: Operation, reason: str, repeats: str | None = None) -> Literal[False]:
        self.refusals.append(Refusal(operation, reason, repeats))
        return False

    def _why_missing(self, id: str) -> str:
        return f"{id} was deleted in this update" if id in self._touched else f"there is no {one_line(id)}"


_PHASE = {"delete": 0, "modify": 1, "add": 2, "keep": 3}


def _quarters(experience: Experience) -> int:
    return quarter_tokens(render_lines((experience,))) + 1  # its break
