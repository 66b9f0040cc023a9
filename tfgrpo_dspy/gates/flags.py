"""Answers, names and numbers of training problems in what a step wrote: flagged for who reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import dspy

from tfgrpo_dspy.library import leaks
from tfgrpo_dspy.library.apply import Change
from tfgrpo_dspy.library.experience import Source
from tfgrpo_dspy.library.leaks import Flag, Known
from tfgrpo_dspy.program.values import Things, as_text


def known_of(trainset: Sequence[dspy.Example]) -> Known:
    """What the examples' inputs and labels say."""
    tasks = ["\n".join(_texts(example.inputs().values())) for example in trainset]
    return Known.of(tasks, [_texts(example.labels().values()) for example in trainset])


def _texts(values: Iterable[object]) -> list[str]:
    things = Things()
    return [as_text(value, things) for value in values]


def flags_of(changes: Iterable[Change], known: Known) -> tuple[Flag, ...]:
    """What a reader should look at in the texts that a step added or rewrote."""
    written = [c for c in changes if c.id is not None and c.after is not None and c.kind in ("add", "modify")]
    return tuple(flag for c in written for flag in _flags_in(str(c.after), str(c.id), c.sources, known))


def _flags_in(text: str, id: str, drawn_from: Sequence[Source], known: Known) -> Iterator[Flag]:
    for answer in leaks.leaked_answers(text, known.answers):
        yield Flag("leaked answer", id, f"it holds {answer!r}, the answer of a training problem")
    own = known.tasks_of(source.example for source in drawn_from)
    if words := leaks.own_words(text, own, known.tasks):
        yield Flag("own words", id, f"{', '.join(words)} belongs to a problem that it was drawn from")
