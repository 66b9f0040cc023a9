"""Answers, names and numbers of training problems in what a step wrote: flagged, and refused by a gate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import Hearing
from tfgrpo_dspy.library import leaks
from tfgrpo_dspy.library.apply import Change, Refusal
from tfgrpo_dspy.library.experience import Source
from tfgrpo_dspy.library.leaks import Flag, Known
from tfgrpo_dspy.library.operations import Add, Modify, Operation
from tfgrpo_dspy.program.values import Things, as_text
from tfgrpo_dspy.records.updates import Ruling


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


@dataclass(frozen=True, slots=True)
class Screen:
    """A gate that refuses texts which give an answer away or speak of one problem only, at no cost.

    Args:
        kinds: What is refused, of `leaked answer` and `own words`.

    Raises:
        SettingsError: There is no such kind.
    """

    kinds: tuple[str, ...] = leaks.KINDS

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in leaks.KINDS]
        if unknown:
            raise SettingsError(f"there is nothing called {unknown[0]!r} to screen for; say {' or '.join(leaks.KINDS)}")

    def rule(self, hearing: Hearing) -> Ruling:
        """The operations whose texts show none of it."""
        known = known_of(hearing.trainset)
        objections = {id(o): self._objection(hearing, o, known) for o in hearing.operations}
        passed = tuple(o for o in hearing.operations if not objections[id(o)])
        return Ruling(passed, tuple(Refusal(o, objections[id(o)]) for o in hearing.operations if objections[id(o)]))

    def _objection(self, hearing: Hearing, operation: Operation, known: Known) -> str:
        if not isinstance(operation, Add | Modify):
            return ""
        cited = [hearing.advantages[label].source for label in operation.sources if label in hearing.advantages]
        flags = _flags_in(operation.text, "", cited, known)
        return "; ".join(f"{flag.kind}: {flag.why}" for flag in flags if flag.kind in self.kinds)
