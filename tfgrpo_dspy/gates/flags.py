"""Answers, names and numbers of training problems in what a step wrote: flagged for who reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dspy

from tfgrpo_dspy.library import leaks
from tfgrpo_dspy.library.apply import Change
from tfgrpo_dspy.library.leaks import Flag, Known
from tfgrpo_dspy.program.values import texts_of


def known_of(trainset: Sequence[dspy.Example]) -> Known:
    """What the examples' inputs and labels say."""
    tasks = ["\n".join(texts_of(example.inputs().values())) for example in trainset]
    return Known.of(tasks, [texts_of(example.labels().values()) for example in trainset])


def flags_of(changes: Iterable[Change], known: Known) -> tuple[Flag, ...]:
    """What a reader should look at in the texts that a step added or rewrote."""
    found: list[Flag] = []
    for change in changes:
        if change.id is None or change.after is None or change.kind not in ("add", "modify"):
            continue
        for answer in leaks.leaked_answers(change.after, known.answers):
            found.append(Flag("leaked answer", change.id, f"it holds {answer!r}, the answer of a training problem"))
        drawn_from = known.tasks_of(source.example for source in change.sources)
        if words := leaks.own_words(change.after, drawn_from, known.tasks):
            said = f"{', '.join(words)} belongs to a problem that it was drawn from"
            found.append(Flag("own words", change.id, said))
    return tuple(found)
