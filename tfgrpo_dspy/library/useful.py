"""Which experiences are read where not all can be: those that fit the task, then those that most groups speak for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.section import CLOSING, OPENING, PREAMBLE, render_lines
from tfgrpo_dspy.library.word_index import WordIndex
from tfgrpo_dspy.text import quarter_tokens


def by_use(
    found: Iterable[str], entries: Iterable[Experience], worth: Mapping[str, float] | None = None
) -> Iterator[str]:
    """Ids of the entries: those that were found for a task, best first, then the others.

    The others are general, or put in words of their own: a task that shares no word with them may need them. Those
    of most worth, and of these those that most groups speak for, come first.
    """
    known, first = worth or {}, dict.fromkeys(found)
    yield from first
    others = (e for e in entries if e.id not in first)
    yield from (e.id for e in sorted(others, key=lambda e: (-known.get(e.id, 1.0), -len(e.provenance.sources))))


def most_useful(entries: Sequence[Experience], task: str | None, budget: int) -> tuple[Experience, ...]:
    """As many of the entries as a section of so many estimated tokens holds: pinned ones, then by use for the task.

    Pinned ones come first, the others in library order. From the first that does not fit on, every one is left out.

    Raises:
        SettingsError: None fits.
        MissingExtraError: There is a task, and bm25s is not installed.
    """
    free = [e for e in entries if not e.pinned]
    found = WordIndex([e.text for e in free]).best(task, len(free)) if task is not None and free else []
    known = {e.id: e for e in entries}
    pinned = [e.id for e in entries if e.pinned]
    left, chosen = 4 * budget - quarter_tokens(f"{OPENING}\n{PREAMBLE}\n{CLOSING}"), set[str]()
    for id in (*pinned, *by_use((free[match.position].id for match in found), free)):
        left -= quarter_tokens(render_lines([known[id]])) + 1
        if left < 0:
            break
        chosen.add(id)
    if entries and not chosen:
        needed = budget + (3 - left) // 4
        raise SettingsError(
            f"a budget of {budget} tokens holds no experience: the first takes about {needed} with what is around it"
        )
    return (*(known[id] for id in pinned if id in chosen), *(e for e in free if e.id in chosen))
