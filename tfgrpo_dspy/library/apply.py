"""What operations do to experiences: each takes effect, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tfgrpo_dspy.library.experience import Author, Experience, Provenance, Source
from tfgrpo_dspy.library.operations import Add, Keep, Modify, Operation, operation_id
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
    """Operations on their way into a library: the entries so far, and what has become of each operation."""

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
            id = operation_id(operation)
            old = self.entries.get(id) if id is not None else None
            new = self._written(operation, old)
            refusal = self._objection(operation, old) or (self._objection_to(operation, new, old) if new else None)
            if refusal is not None:
                self.refusals.append(refusal)
            else:
                self._put(operation, old, new)

    def _written(self, operation: Operation, old: Experience | None) -> Experience | None:
        """What an operation would make of an entry, or of nothing."""
        if isinstance(operation, Add):
            provenance = self._mandate.provenance(operation, None)
            return Experience(
                f"G{self.next_id}", one_line(operation.text), scope=operation.scope, provenance=provenance
            )
        if isinstance(operation, Modify) and old is not None:
            provenance = self._mandate.provenance(operation, old)
            return replace(old, text=one_line(operation.text), provenance=provenance)
        return old if isinstance(operation, Keep) else None

    def _objection(self, operation: Operation, old: Experience | None) -> Refusal | None:
        """Why what an operation names cannot be changed, if it cannot."""
        id, most, size = operation_id(operation), self._limits.max_experiences, len(self.entries)
        if id is not None and old is None:
            is_gone = id in self._touched
            return Refusal(operation, f"{id} was deleted in this update" if is_gone else f"there is no {one_line(id)}")
        if isinstance(operation, Keep):
            return None
        if old is None:
            is_full = most is not None and size >= most
            return Refusal(operation, f"the library is full: {size} of at most {most} entries") if is_full else None
        if old.pinned:
            return Refusal(operation, f"{old.id} is pinned")
        return Refusal(operation, f"{old.id} was already changed in this update") if old.id in self._touched else None

    def _objection_to(self, operation: Operation, new: Experience, old: Experience | None) -> Refusal | None:
        """Why a text may not enter in place of another one or of none, if it may not."""
        if new is old:
            return None
        words, max_words, limit = count_words(new.text), self._limits.max_words, self._limits.max_tokens
        if not new.text:
            return Refusal(operation, "the text is empty")
        if max_words is not None and words > max_words:
            return Refusal(operation, f"{words} words, at most {max_words} are allowed")
        if old is not None and new.text == old.text:
            return Refusal(operation, f"the text is that of {old.id} already", old.id)
        twin = self._index.near_duplicate(new.text, leaving_out=old.id if old else None)
        if twin is not None:
            return Refusal(operation, f"it repeats {twin}", twin)
        growth = _quarters(new) - (_quarters(old) if old else 0)
        tokens = (self._quarters + growth + 2) // 4  # rounded up, without the last break
        if limit is None or tokens <= limit or growth <= 0:
            return None
        return Refusal(operation, f"it would make {tokens} tokens, at most {limit} are allowed")

    def _put(self, operation: Operation, old: Experience | None, new: Experience | None) -> None:
        if old is not None and new is not old:
            self._index.remove(old.id)
            self._quarters -= _quarters(old)
            self._touched.add(old.id)
        if new is not None and new is not old:
            self._index.add(new.id, new.text)
            self._quarters += _quarters(new)
            self._touched.add(new.id)
            self.entries[new.id] = new
        elif new is None and old is not None:
            del self.entries[old.id]
        self.next_id += isinstance(operation, Add)
        before, after = (e.text if e is not None else None for e in (old, new))
        concerned = new or old
        cited, by = self._mandate.cited(operation), self._mandate.by.get(operation, "update")
        id, reason = concerned.id if concerned else None, one_line(operation.reason)
        self.changes.append(Change(operation.op, id, before, after, reason, cited, by))


_PHASE = {"delete": 0, "modify": 1, "add": 2, "keep": 3}


def _quarters(experience: Experience) -> int:
    return quarter_tokens(render_lines((experience,))) + 1  # its break
