"""The experience library E: an immutable value, and the one function that changes it.

`ExperienceLibrary.apply` is pure and total: old library and operations in, new library, changes and refusals out.
What cannot be done is refused with a reason, never repaired by guessing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.apply import Application, By, Change, Limits, Mandate, Refusal
from tfgrpo_dspy.library.experience import Author, Circumstances, Experience, Provenance, Source, id_number
from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.library.section import render_lines, render_section
from tfgrpo_dspy.looks.look import Look, Table
from tfgrpo_dspy.looks.value import Tabular, plain
from tfgrpo_dspy.text import counted, estimate_tokens, one_line


class Applied(NamedTuple):
    """What `ExperienceLibrary.apply` returns."""

    library: ExperienceLibrary
    changes: tuple[Change, ...]
    """In the order in which they took effect: deletions, modifications, additions; Keeps last."""
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, repr=False)
class ExperienceLibrary(Tabular):
    """The library E (paper, section 3): an ordered, immutable set of experiences.

    Raises:
        ValueError: Two experiences share an id, or an id is not below `next_id`, or it is no id at all; or the domain
            is blank or of several lines.
    """

    experiences: tuple[Experience, ...] = ()
    next_id: int = 0
    """Number of the next experience to be added; it only grows."""
    learned_with: tuple[str, ...] = ()
    """Names of the LMs that took part in learning it (policy and reflection), sorted."""
    domain: str | None = None
    """What it is about, in a word or two: `math`, `house style`; one line. None if nobody said."""
    learned_under: Circumstances = field(default_factory=Circumstances)
    """Student, metric and objective of the last run that changed it."""

    def __post_init__(self) -> None:
        numbers = [id_number(e.id) for e in self.experiences]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two experiences share an id; every id may occur once")
        if self.domain is not None and (not self.domain or self.domain != one_line(self.domain)):
            raise ValueError(f"the domain {self.domain!r} must be a few words on one line")
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

    def render(self, task: str | None = None, budget: int | None = None) -> str:
        """Its section as a prompt takes it, wherever that prompt is put together; empty for an empty library.

        Args:
            task: What is to be done, in words: of what does not fit, the experiences that share words with it stay.
            budget: Estimated tokens that the section may take, all of it; None for the whole library. Pinned ones come
                first, then those that fit the task, then those that most groups of a run speak for.

        Raises:
            SettingsError: There is a task and nothing to choose within, or the budget holds no experience.
            MissingExtraError: There is a task, and bm25s is not installed.
        """
        if budget is None:
            if task is not None:
                raise SettingsError("`task` chooses what fits into a `budget`; give one, e.g. `budget=800` tokens")
            return render_section(self.experiences)
        from tfgrpo_dspy.library.useful import most_useful

        return render_section(most_useful(self.experiences, task, budget))

    def pin(self, id: str, pinned: bool = True) -> ExperienceLibrary:
        """The library with that experience pinned (or not); KeyError if there is none."""
        changed = replace(self[id], pinned=pinned)
        return replace(self, experiences=tuple(changed if e.id == id else e for e in self.experiences))

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
        by: Mapping[Operation, By] | None = None,
    ) -> Applied:
        """The library after the operations, with what changed and what was refused.

        All operations speak of the library as it is now. Deletions take effect first, then modifications, then
        additions, each in the given order, so that the outcome does not depend on how a model mixed them.

        Args:
            operations: Any number of operations.
            step: The step that asks for them, from 1.
            author: Who asks.
            sources: What the labels in `Operation.sources` stand for.
            limits: Bounds to enforce; the default bounds words only.
            by: What asks for an operation, where that is not the update.

        Returns:
            New library, changes and refusals; every operation is in exactly one of the last two. Total: no input
            of these types raises.
        """
        mandate = Mandate(author, step, dict(sources or {}), dict(by or {}))
        application = Application(self.experiences, self.next_id, mandate, limits or Limits())
        application.take_all(operations)
        library = replace(self, experiences=tuple(application.entries.values()), next_id=application.next_id)
        return Applied(library, tuple(application.changes), tuple(application.refusals))

    def look(self) -> Look:
        """Its entries."""
        size = f"{counted(len(self), 'experience')}, about {self.tokens} tokens"
        about = f", {self.domain}" if self.domain is not None else ""
        learned = f", learned with {', '.join(self.learned_with)}" if self.learned_with else ""
        rows = tuple((e.id, e.marked_text) for e in self)
        return Look(f"ExperienceLibrary: {size}{about}{learned}", table=Table(("", ""), rows))

    def rows(self) -> list[dict[str, Any]]:
        """A row per experience."""
        return [
            {
                "id": e.id,
                "text": e.text,
                "pinned": e.pinned,
                "scope": e.scope,
                "author": e.provenance.author,
                "created_step": e.provenance.created_step,
                "modified_step": e.provenance.modified_step,
                "reason": e.provenance.reason,
                "sources": plain(e.provenance.sources),
            }
            for e in self
        ]
