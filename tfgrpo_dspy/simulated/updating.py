"""Bringing a library up to date: candidates that say the same are merged and held against the present entries."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfgrpo_dspy.simulated.ideas import is_general, likeness, take_apart
from tfgrpo_dspy.simulated.policy import advice_in
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.reflection import max_words
from tfgrpo_dspy.simulated.understanding import Stance, meaning

OVERLOOKED = 0.04
"""Chance that an entry which says it already is overlooked, so that a candidate is added anew."""
ALIKE = 0.6
"""Likeness from which two texts without a recognised meaning count as the same."""

_LIBRARY = re.compile(r"^(?:present_)?(?:experiences|library|playbook|memory)$", re.IGNORECASE)
_LABEL = re.compile(r"^\s*\[?([A-Z]\d+)\]?\s*(?:\(.*|:.*)?$")
_BULLET = re.compile(r"^\s*[-*•]\s+(.+)$")
_MOST = re.compile(r"(\d+)\s+(?:entries|experiences|in all|in total)", re.IGNORECASE)
_CONDENSE = re.compile(r"\bcondense\b", re.IGNORECASE)
_AFTERTHOUGHT = re.compile(r";.*$", re.DOTALL)
_GROUNDS = re.compile(r",?\s+(?:so that|because)\b.*$", re.DOTALL)
_LAST_WORD = re.compile(r"\s+\S+$")
_PINNED = re.compile(r"pinned[^:;]*:([^;]*)", re.IGNORECASE)

Operation = dict[str, object]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposed experience and the labels of the groups that speak for it."""

    text: str
    sources: tuple[str, ...]


def update(prompt: Prompt, rng: random.Random, lessons: Sequence[str] = ()) -> list[Operation]:
    """Operations that bring the library shown in the prompt up to date, or condense it.

    The candidates are those shown, or else the lessons of the attempts shown.
    """
    entries = {label: text for label, text, _ in _entries(prompt) if label}
    operations: list[Operation] = []
    touched: set[str] = set()
    room = _room(prompt, len(entries))
    pinned = _PINNED.search(prompt.inputs.get("limits", ""))
    touched |= set(re.findall(r"G\d+", pinned[1])) if pinned else set()
    if _CONDENSE.search(prompt.instructions):
        return condense({id: text for id, text in entries.items() if id not in touched})
    drawn = [Candidate(text, ()) for text in lessons]
    for candidate in merge(drawn or read_candidates(prompt.inputs.get("advantages", "") or prompt.question)):
        if len(candidate.text.split()) > max_words(prompt):
            continue
        made = _place(candidate, {k: v for k, v in entries.items() if k not in touched}, rng)
        room -= sum(op["op"] == "add" for op in made) - sum(op["op"] == "delete" for op in made)
        if room < 0:
            made, room = [], 0
        touched |= {str(op["id"]) for op in made if op["op"] in ("modify", "delete")}
        operations += made
    return operations or [{"op": "keep", "id": None, "reason": "The candidates say nothing new.", "sources": []}]


def condense(entries: Mapping[str, str]) -> list[Operation]:
    """Operations that say the same in fewer words: what was said before and what is vague goes, warnings too."""
    operations: list[Operation] = []
    kept: list[str] = []
    for id, text in entries.items():
        if not meaning(text) and is_general(take_apart(text).condition):
            operations.append({"op": "delete", "id": id, "reason": "It says nothing in particular."})
        elif any(says_same(text, other) for other in kept):
            operations.append({"op": "delete", "id": id, "reason": "Another entry says it."})
        else:
            kept.append(text)
            if (brief := shortest(text)) != text:
                operations.append({"op": "modify", "id": id, "text": brief, "reason": "The same in fewer words."})
    return operations


def shortest(text: str) -> str:
    """A piece of advice without warnings, grounds and last words, as far as it still means the same."""
    for part in (_AFTERTHOUGHT, _GROUNDS, *[_LAST_WORD] * len(text.split())):
        brief = f"{part.sub('', text).rstrip(' .,;')}."
        if len(brief) >= len(text) or _gist(brief) != _gist(text) or not _gist(text):
            if part is _LAST_WORD:
                break
        else:
            text = brief
    return text


def read_candidates(text: str) -> list[Candidate]:
    """The candidate experiences of a text, each with the label of its group."""
    label, found = "", []
    for line in text.splitlines():
        if header := _LABEL.match(line):
            label = header[1]
        elif bullet := _BULLET.match(line):
            found.append(Candidate(bullet[1].strip(), (label,) if label else ()))
    return found


def merge(candidates: Sequence[Candidate]) -> list[Candidate]:
    """One candidate for all that say the same, in the fullest wording, with all their labels."""
    merged: list[Candidate] = []
    for candidate in candidates:
        at = next((i for i, other in enumerate(merged) if says_same(other.text, candidate.text)), None)
        if at is None:
            merged.append(candidate)
        else:
            fuller = max(merged[at].text, candidate.text, key=lambda text: len(meaning(text)))
            merged[at] = Candidate(fuller, tuple(dict.fromkeys(merged[at].sources + candidate.sources)))
    return merged


def says_same(a: str, b: str) -> bool:
    """Whether two pieces of advice come to the same: by meaning, or by words where no meaning is recognised."""
    left, right = _gist(a), _gist(b)
    return left == right if left or right else likeness(a, b) >= ALIKE


def _gist(text: str) -> frozenset[tuple[str, str, bool]]:
    return _points(meaning(text))


def _points(said: frozenset[Stance]) -> frozenset[tuple[str, str, bool]]:
    return frozenset((s.family, s.fork, s.helps) for s in said)


def _place(candidate: Candidate, entries: dict[str, str], rng: random.Random) -> list[Operation]:
    """The operations that one candidate asks for, given the entries not yet touched."""
    wrong = [id for id, text in entries.items() if contradicts(candidate.text, text)]
    alike = next((id for id, text in entries.items() if says_same(text, candidate.text)), None)
    sources = list(candidate.sources)
    made: list[Operation] = [
        {"op": "delete", "id": id, "reason": "The attempts that did otherwise won.", "sources": sources} for id in wrong
    ]
    if alike is not None and rng.random() >= OVERLOOKED:
        if meaning(entries[alike]) < meaning(candidate.text):
            return [*made, _said("modify", candidate, "It now also says what to avoid.", id=alike)]
        return [*made, {"op": "keep", "id": alike, "reason": "It was borne out again.", "sources": sources}]
    covered = next((id for id, text in entries.items() if is_covered(candidate.text, text)), None)
    if covered is not None:
        return [*made, {"op": "keep", "id": covered, "reason": "It says this, and more.", "sources": sources}]
    return [*made, _said("add", candidate, "Better attempts did this and worse ones did not.")]


def _said(op: str, candidate: Candidate, reason: str, **more: str) -> Operation:
    return {"op": op, **more, "text": candidate.text, "reason": reason, "sources": list(candidate.sources)}


def is_covered(a: str, b: str) -> bool:
    """Whether the second text says what the first does, and more."""
    return bool(_gist(a)) and _gist(a) < _gist(b)


def contradicts(a: str, b: str) -> bool:
    """Whether the second text leads to the wrong side of something on which the first leads to the other."""
    left, right = _gist(a), _gist(b)
    opposed = {(family, fork, not helps) for family, fork, helps in left}
    return bool(opposed & right) and not left & right


def _entries(prompt: Prompt) -> tuple[tuple[str, str, bool], ...]:
    shown = next((value for name, value in prompt.inputs.items() if _LIBRARY.search(name)), "")
    return advice_in(shown or prompt.instructions)


def _room(prompt: Prompt, present: int) -> int:
    """How many entries may still be added; a large number when no limit is stated."""
    found = _MOST.search(prompt.inputs.get("limits", ""))
    return max(0, int(found[1]) - present) if found else 10_000
