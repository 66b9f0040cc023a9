"""Several libraries as one: for a program that reads, say, a library for mathematics and one for house style.

Ids stay unambiguous: the first library keeps its own, those of the next go on after them (`G3` of the second is
`G30` where the first has used 27), and `provenance.origin` says what each one was. Pure values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.experience import Circumstances, Experience, id_number
from tfgrpo_dspy.library.library import Change, ExperienceLibrary, Refusal
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.library.similarity import TokenIndex
from tfgrpo_dspy.text import one_line, quarter_tokens


class LeftOut(NamedTuple):
    """An experience that did not get into a combined library."""

    origin: str
    """Library and id, e.g. `math:G7`."""
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.origin} ({self.reason})"


class Combined(NamedTuple):
    """What `combine` returns."""

    library: ExperienceLibrary
    left_out: tuple[LeftOut, ...]
    """In order."""


def combine(libraries: Sequence[ExperienceLibrary], *, max_tokens: int | None = None) -> Combined:
    """One library of several, in the order given, which is their order of precedence.

    An experience whose text stands there already is left out, and so is, from the first that does not fit into
    `max_tokens` on, every one: none is cut, and none takes the place of one before it.

    Args:
        libraries: One or more. A single one that fits comes back as it is.
        max_tokens: Estimated tokens of all lines together, >= 1; None for no bound.

    Raises:
        SettingsError: No library, or `max_tokens` below 1.
    """
    if not libraries:
        raise SettingsError("there is no library to combine; give at least one")
    if max_tokens is not None and max_tokens < 1:
        raise SettingsError(f"max_tokens must be at least 1, got {max_tokens}; None is for no bound")
    taken: list[Experience] = []
    left_out: list[LeftOut] = []
    places: dict[tuple[str, str | None], str] = {}
    quarters, is_full = 0, False
    for origin, experience in _numbered(libraries):
        text = one_line(experience.text)
        twin = (places.get((text, None)) or places.get((text, experience.scope))) if len(libraries) > 1 else None
        growth = quarter_tokens(render_lines((experience,))) + 1
        is_full = is_full or (twin is None and max_tokens is not None and (quarters + growth + 2) // 4 > max_tokens)
        if twin is not None:
            left_out.append(LeftOut(origin, text, f"the same as {twin}"))
        elif is_full:
            left_out.append(LeftOut(origin, text, f"beyond {max_tokens} tokens"))
        else:
            quarters += growth
            places[text, experience.scope] = experience.id
            taken.append(experience)
    return Combined(_library(libraries, taken), tuple(left_out))


def _numbered(libraries: Sequence[ExperienceLibrary]) -> Iterator[tuple[str, Experience]]:
    """Each experience under the id that it will have, with where it is from."""
    offset = 0
    for name, library in zip(_names(libraries), libraries, strict=True):
        for e in library:
            origin = e.provenance.origin or f"{name}:{e.id}"
            if len(libraries) == 1:
                yield origin, e
            else:
                id = f"G{id_number(e.id) + offset}"
                yield origin, replace(e, id=id, provenance=replace(e.provenance, origin=origin))
        offset += library.next_id


def _names(libraries: Sequence[ExperienceLibrary]) -> list[str]:
    """A name for each, by its domain if it has one; no two are the same."""
    names: list[str] = []
    for number, library in enumerate(libraries, start=1):
        name = library.domain or f"library {number}"
        names.append(name if name not in names else f"{name} {number}")
    return names


def _library(libraries: Sequence[ExperienceLibrary], taken: Sequence[Experience]) -> ExperienceLibrary:
    if len(libraries) == 1:
        return replace(libraries[0], experiences=tuple(taken))
    circumstances = {library.learned_under for library in libraries}
    return ExperienceLibrary(
        tuple(taken),
        next_id=sum(library.next_id for library in libraries),
        learned_with=tuple(sorted({lm for library in libraries for lm in library.learned_with})),
        domain=" + ".join(_names(libraries)),
        learned_under=circumstances.pop() if len(circumstances) == 1 else Circumstances(),
    )


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged library, and what became of the second's experiences."""

    library: ExperienceLibrary
    changes: tuple[Change, ...] = ()
    """To the first library."""
    refusals: tuple[Refusal, ...] = ()
    repeats: Mapping[str, str] = field(default_factory=dict)
    """Id in the second library to the id of the entry in the first that says it already, word for word or nearly."""


def union(a: ExperienceLibrary, b: ExperienceLibrary, name: str) -> Merged:
    """The first library and what it does not say yet of the second; no LM is asked.

    Experiences of the second keep text, pin, scope and provenance; their ids are new, and the reason in their
    provenance says which they were.

    Args:
        a: The first library.
        b: The second.
        name: What the second is called, e.g. its file's name.
    """
    index = TokenIndex([(e.id, e.text) for e in a], [e.text for e in b])
    entries, repeats, changes = list(a.experiences), {}, []
    next_id = a.next_id
    for old in b:
        if (twin := index.near_duplicate(old.text, leaving_out=None)) is not None:
            repeats[old.id] = twin
            continue
        new = _renamed(old, f"G{next_id}", name)
        next_id += 1
        entries.append(new)
        index.add(new.id, new.text)
        changes.append(Change("add", new.id, None, new.text, new.provenance.reason, new.provenance.sources))
    names = tuple(sorted({*a.learned_with, *b.learned_with}))
    library = replace(a, experiences=tuple(entries), next_id=next_id, learned_with=names)
    return Merged(library, tuple(changes), repeats=repeats)


def _renamed(old: Experience, id: str, name: str) -> Experience:
    """An experience of another library under its new id."""
    reason = "; ".join(filter(None, [f"it was {old.id} of {name}", old.provenance.reason]))
    return replace(old, id=id, provenance=replace(old.provenance, reason=reason))
