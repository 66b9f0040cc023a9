"""The signs of `harm`, looked for in what a step did; and a gate that refuses what shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.gates.gate import All, Gate, Hearing
from tfgrpo_dspy.library import harm
from tfgrpo_dspy.library.harm import Flag, Known
from tfgrpo_dspy.library.library import Change, ExperienceLibrary, Refusal
from tfgrpo_dspy.library.operations import Add, Modify, Operation
from tfgrpo_dspy.records.updates import Ruling
from tfgrpo_dspy.settings import Settings


def known_of(trainset: Sequence[dspy.Example]) -> Known:
    """What the examples' inputs and labels say."""
    tasks = ["\n".join(str(value) for value in example.inputs().values()) for example in trainset]
    return Known.of(tasks, [str(value) for example in trainset for value in example.labels().values()])


def flags_of(
    before: ExperienceLibrary, after: ExperienceLibrary, changes: Iterable[Change], known: Known, max_drift: float
) -> tuple[Flag, ...]:
    """What a reader should look at in the changes of a step.

    Args:
        before: The library before the step.
        after: The library after it.
        changes: What the step did; texts that it added or rewrote are looked at.
        known: What the trainset says.
        max_drift: Share of the library that a step may change without a flag, in [0, 1].
    """
    others = _pairs(after)
    found: list[Flag] = []
    for change in changes:
        if change.id is not None and change.after is not None and change.kind in ("add", "modify"):
            places = [int(source.example[1:]) for source in change.sources if source.example[1:].isdigit()]
            found += _flags_in(change.after, change.id, places, known, others)
    share = harm.drift(_pairs(before), others)
    if share > max_drift:
        found.append(Flag("drift", None, f"the step changed {share:.0%} of the library, more than {max_drift:.0%}"))
    return tuple(found)


def _flags_in(
    text: str, id: str, drawn_from: Sequence[int], known: Known, others: Sequence[tuple[str, str]]
) -> Iterable[Flag]:
    for answer in harm.leaked_answers(text, known.answers):
        yield Flag("leaked answer", id, f"it holds {answer!r}, the answer of a training problem")
    own = [known.tasks[place] for place in drawn_from if place < len(known.tasks)]
    if specific := harm.over_specific(text, own, known.tasks):
        yield Flag("over-specific", id, f"{', '.join(specific)} belongs to a problem that it was drawn from")
    for other in harm.contradicted(text, [pair for pair in others if pair[0] != id]):
        yield Flag("contradiction", id, f"it says the opposite of {other}")


def _pairs(library: ExperienceLibrary) -> list[tuple[str, str]]:
    return [(experience.id, experience.text) for experience in library]


@dataclass(frozen=True, slots=True)
class Screen:
    """A gate that refuses what shows signs of harm, at no cost.

    Args:
        kinds: Which of `harm.KINDS`; `drift` refuses a whole update.
        max_drift: Share of the library that a step may change, in [0, 1].

    Raises:
        SettingsError: There is no such kind.
    """

    kinds: tuple[str, ...] = ("leaked answer", "over-specific", "contradiction")
    max_drift: float = 0.5

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in harm.KINDS]
        if unknown:
            raise SettingsError(f"there is no sign of harm {unknown[0]!r}; there are: {', '.join(harm.KINDS)}")

    def rule(self, hearing: Hearing) -> Ruling:
        """The operations without such a sign."""
        known = known_of(hearing.trainset)
        objections = {id(o): self._objection(hearing, o, known) for o in hearing.operations}
        passed = tuple(o for o in hearing.operations if not objections[id(o)])
        share = harm.drift(_pairs(hearing.library), _pairs(hearing.after(passed)))
        if "drift" in self.kinds and share > self.max_drift:
            reason = f"drift: the update would change {share:.0%} of the library, more than {self.max_drift:.0%}"
            objections |= {id(o): reason for o in passed}
            passed = ()
        return Ruling(passed, tuple(Refusal(o, objections[id(o)]) for o in hearing.operations if objections[id(o)]))

    def _objection(self, hearing: Hearing, operation: Operation, known: Known) -> str:
        if not isinstance(operation, Add | Modify):
            return ""
        replaced = operation.id if isinstance(operation, Modify) else None
        cited = [hearing.advantages[label] for label in operation.sources if label in hearing.advantages]
        places = [int(a.source.example[1:]) for a in cited]
        others = [pair for pair in _pairs(hearing.library) if pair[0] != replaced]
        flags = _flags_in(operation.text, replaced or "", places, known, others)
        return "; ".join(f"{flag.kind}: {flag.why}" for flag in flags if flag.kind in self.kinds)


def check_gate(gate: Gate | Sequence[Gate] | None, settings: Settings) -> Gate | None:
    """One gate of one or several, with a `Screen` before them if the settings ask for it; None for none.

    Raises:
        SettingsError: Something has no method `rule`.
    """
    given = () if gate is None else tuple(gate) if isinstance(gate, Sequence) else (gate,)
    for one in given:
        if not callable(getattr(one, "rule", None)) or isinstance(one, type):
            raise SettingsError(
                f"gate must be a Gate or several, e.g. Holdout(examples) or [Judge(), Holdout(examples)], got {one!r}"
            )
    gates = (*([Screen(tuple(settings.screen), settings.max_drift)] if settings.screen else []), *given)
    return None if not gates else gates[0] if len(gates) == 1 else All(gates)
