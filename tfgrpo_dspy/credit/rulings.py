"""What becomes of experiences when their trial is over: operations on the library, and refusals of others; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfgrpo_dspy.credit.of_run import is_dismissed
from tfgrpo_dspy.library.apply import Refusal
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.nearness import Nearness
from tfgrpo_dspy.library.operations import Add, Delete, Modify, Operation
from tfgrpo_dspy.library.similarity import NEAR_DUPLICATE, normalised_tokens, overlap
from tfgrpo_dspy.records.effects import Effect

_LEAST_CHANCE = 0.2
"""Chance of helping, given how its like fare, below which an entry does not stay whose trial ends without a verdict
(ours: at .3, or by its own evidence alone, useful ones that nothing else says go as well, where few mislead)."""

_LEAST_BESIDE = 2 / 3
"""The same beside an entry that is near to it and helps: about half of these say what that one says, so to lose one
costs half of what it costs to keep one that hurts (ours; by its own evidence alone useful ones go as well)."""


def verdicts_on(library: ExperienceLibrary, effects: Iterable[Effect], *, trial_ends: bool = False) -> list[Operation]:
    """Deletions of what hurts and what does nothing, and texts put back as they were where a change hurts.

    Args:
        library: After an update; what this rewrote has no verdict yet, and stays. Pinned entries stay as well.
        effects: As measured.
        trial_ends: Whether nothing more will be measured: what is likelier to hurt than to help goes as well.
    """
    free = {(e.id, e.text) for e in library if not e.pinned}
    made: list[Operation] = []
    known = list(effects)
    doubted = _doubted(known) if trial_ends else frozenset()
    for effect in known:
        is_doubted = effect in doubted
        if (effect.id, effect.text) in free and (is_doubted or is_dismissed(effect)):
            said = "it is likelier to hurt than to help, though its trial ended" if is_doubted else "on trial it"
            reason = f"{said} {effect.to_text()}"
            if effect.against is None:
                made.append(Delete(id=effect.id, reason=reason))
            else:
                made.append(Modify(id=effect.id, text=effect.against, reason=reason))
    return made


def _doubted(effects: Sequence[Effect]) -> frozenset[Effect]:
    """Those without a verdict that are likelier to hurt than to help.

    What nothing else says has the benefit of the doubt; of what is near to an entry that helps, more is asked.
    """
    open_ = [effect for effect in effects if effect.verdict == "undecided"]
    helping = [(effect.id, effect.text) for effect in effects if effect.verdict == "helps"]
    nearness = Nearness(helping, [effect.text for effect in open_])

    def is_doubted(effect: Effect) -> bool:
        is_covered = effect.against is None and nearness.near(effect.text, 1)
        return effect.chance_among_its_like < (_LEAST_BESIDE if is_covered else _LEAST_CHANCE)

    return frozenset(filter(is_doubted, open_))


def within_verdicts(
    operations: Sequence[Operation], effects: Iterable[Effect], dismissed: Sequence[Effect]
) -> tuple[list[Operation], list[Refusal]]:
    """An update's operations, without those that what was measured speaks against, and these.

    A text that a trial took out is not learned anew, in these words or nearly these, and an entry that helps is not
    deleted.
    """
    helpful = {effect.id: effect for effect in effects if effect.verdict == "helps"}
    gone = [(normalised_tokens(effect.text), effect) for effect in dismissed]

    def objection(operation: Operation) -> str:
        if isinstance(operation, Delete) and (known := helpful.get(operation.id)) is not None:
            return f"on trial {operation.id} {known.to_text()}"
        if isinstance(operation, Add | Modify):
            words = normalised_tokens(operation.text)
            again = next((effect for tokens, effect in gone if overlap(words, tokens) >= NEAR_DUPLICATE), None)
            return f"it is what {again.id} said, which on trial {again.to_text()}" if again is not None else ""
        return ""

    said = [(operation, objection(operation)) for operation in operations]
    return [o for o, why in said if not why], [Refusal(o, why) for o, why in said if why]
