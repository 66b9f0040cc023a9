"""Several libraries as one: for a program that reads, say, a library for mathematics and one for house style.

Ids stay unambiguous: the first library keeps its own, those of the next go on after them (`G3` of the second is
`G30` where the first has used 27), and `provenance.origin` says what each one was. Pure values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.experience import Circumstances, Experience, id_number
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.library.similarity import TokenIndex
from tfgrpo_dspy.text import quarter_tokens


class LeftOut(NamedTuple):
    """An experience that did not get into a library made of several."""

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


def combine(
    libraries: Sequence[ExperienceLibrary], *, names: Sequence[str] = (), max_tokens: int | None = None
) -> Combined:
    """One library of several, in the order given, which is their order of precedence; no LM is asked.

    An experience that an earlier library says already, word for word or nearly, is left out, and so is, from the
    first that does not fit into `max_tokens` on, every one: none is cut, and none takes the place of one before it.

    Args:
        libraries: One or more. A single one that fits comes back as it is.
        names: What each is called in `origin`, e.g. its file's name; without them its domain, or its number.
        max_tokens: Estimated tokens of all lines together, >= 1; None for no bound.

    Raises:
        SettingsError: No library, or `max_tokens` below 1.
    """
    if not libraries:
        raise SettingsError("there is no library to combine; give at least one")
    if max_tokens is not None and max_tokens < 1:
        raise SettingsError(f"`max_tokens` must be at least 1, got {max_tokens}; `None` is for no bound")
    taken: list[Experience] = []
    left_out: list[LeftOut] = []
    quarters, is_full, offset = 0, False, 0
    for name, library in zip(names or _names(libraries), libraries, strict=True):
        entries = [_moved(e, offset, name) for e in library] if len(libraries) > 1 else [*library]
        twins = _twins(taken, entries)
        for old, e in zip(library, entries, strict=True):
            reason = twins.get(e.id)
            growth = quarter_tokens(render_lines((e,))) + 1
            if reason is None and max_tokens is not None and (quarters + growth + 2) // 4 > max_tokens:
                is_full = True
            if reason is None and is_full:
                reason = f"beyond {max_tokens} tokens"
            if reason is None:
                quarters += growth
                taken.append(e)
            else:
                left_out.append(LeftOut(old.provenance.origin or f"{name}:{old.id}", old.text, reason))
        offset += library.next_id
    return Combined(_of_all(libraries, taken), tuple(left_out))


def _moved(e: Experience, offset: int, name: str) -> Experience:
    """An experience under the id that it will have, with where it is from."""
    provenance = replace(e.provenance, origin=e.provenance.origin or f"{name}:{e.id}")
    return replace(e, id=f"G{id_number(e.id) + offset}", provenance=provenance)


def _twins(taken: Sequence[Experience], entries: Sequence[Experience]) -> dict[str, str]:
    """For each of the entries that another library says already, to the same readers, why it is left out."""
    twins = {}
    for scope in {e.scope for e in entries} if taken else ():
        asked = [e for e in entries if e.scope == scope]
        index = TokenIndex([(e.id, e.text) for e in taken if e.scope in (None, scope)], [e.text for e in asked])
        found = ((e.id, index.near_duplicate(e.text, leaving_out=None)) for e in asked)
        twins.update({id: f"it repeats {twin}" for id, twin in found if twin is not None})
    return twins


def _names(libraries: Sequence[ExperienceLibrary]) -> list[str]:
    """A name for each, by its domain if it has one; no two are the same."""
    names: list[str] = []
    for number, library in enumerate(libraries, start=1):
        name = library.domain or f"library {number}"
        names.append(name if name not in names else f"{name} {number}")
    return names


def _of_all(libraries: Sequence[ExperienceLibrary], taken: Sequence[Experience]) -> ExperienceLibrary:
    """The library of these experiences, with what is known of all the libraries that they are from."""
    if len(libraries) == 1:
        return replace(libraries[0], experiences=tuple(taken))
    circumstances = {library.learned_under for library in libraries} - {Circumstances()}
    return ExperienceLibrary(
        tuple(taken),
        next_id=sum(library.next_id for library in libraries),
        learned_with=tuple(sorted({lm for library in libraries for lm in library.learned_with})),
        domain=" + ".join(dict.fromkeys(library.domain for library in libraries if library.domain)) or None,
        learned_under=circumstances.pop() if len(circumstances) == 1 else Circumstances(),
    )
