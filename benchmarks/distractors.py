"""Experiences that are about other things than the demo world: good advice, and of no use there."""

from __future__ import annotations

import random
from dataclasses import replace

from tfgrpo_dspy import ExperienceLibrary
from tfgrpo_dspy.library.library import Experience, Provenance

_WHO = "a customer|a patient|a tenant|a new colleague|a student|a reviewer|a supplier|a reader|a neighbour|a client"
_WHAT = (
    "an invoice|a lease|a pull request|a recipe|a garden bed|a travel plan|a database query|a press release|a tour"
    "|a bicycle brake|a vaccination card|a translation|a slide deck|a survey|a wedding list|a server log|a tax form"
    "|a contract|a chess opening|a choir rehearsal|a marathon plan|a blood test|a photo archive|a roof repair"
)
_ASKS = "asks about|sends|complains about|wants to change|cancels|compares|has lost|misreads|signs|returns"
_FIRST = (
    "quote the clause that applies|name the page it is on|repeat the wish in plain words|check the date on the cover"
    "|look up who is responsible|show a short sample|read the newest version|confirm the spelling of each name"
    "|write down what was agreed|open the earlier correspondence|state what is still missing|offer two ways to go on"
)
_THEN = (
    "do not promise a deadline|do not guess the reason|do not repeat what they know|keep the original attached"
    "|say whom to call|leave the layout alone|ask before deleting anything|name the source|avoid abbreviations"
    "|mention the opening hours|keep the tone friendly|put the summary on top|link to the manual|thank them at the end"
)


def distracted(library: ExperienceLibrary, n: int, seed: int) -> ExperienceLibrary:
    """The library among n experiences about other things, in an order drawn by the seed; ids stay.

    Args:
        library: Its experiences keep ids and order among themselves.
        n: Distractors, all different, at most 436 800.
        seed: Draws them and where they stand.
    """
    rng = random.Random(f"distractors {seed}")
    added = [
        Experience(f"G{library.next_id + i}", text, provenance=Provenance("import"))
        for i, text in enumerate(_texts(n, rng))
    ]
    places = set(rng.sample(range(n + len(library)), len(library)))
    own, others = iter(library), iter(added)
    mixed = tuple(next(own if i in places else others) for i in range(n + len(library)))
    return replace(library, experiences=mixed, next_id=library.next_id + n)


def _texts(n: int, rng: random.Random) -> list[str]:
    parts = [part.split("|") for part in (_WHO, _ASKS, _WHAT, _FIRST, _THEN)]
    found: dict[str, None] = {}
    while len(found) < n:
        who, asks, what, first, then = (rng.choice(part) for part in parts)
        found[f"When {who} {asks} {what}, {first}; {then}."] = None
    return list(found)
