"""Signs that a text in the library may do harm, found without a model; pure.

They are hints: cheap, explained, never proof. Each is kept from common false alarms, which the functions state.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["leaked answer", "over-specific", "contradiction", "drift"]
KINDS: tuple[Kind, ...] = ("leaked answer", "over-specific", "contradiction", "drift")

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|\.\d)")
_CONSTANTS = frozenset("3.14 3.1416 9.81 12 24 52 64 128 180 256 273.15 360 365 366 512 1024".split())
"""Numbers that general advice may well name, besides powers of ten and their multiples."""
_LEAST_DIGITS = 3
"""Significant digits from which a number in an experience is taken for a training answer (ours)."""
_STATED = r"(?:answer|result|solution)\s*(?:is|=|:|equals)\s*(?:about\s+)?\$?"
_NAME = re.compile(r"(?<![.!?:;]\s)(?<!^)\b[A-Z][a-z]{2,}\b")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?")
_FILLER = frozenset(
    "a an the of to and or in on at by for from is are be it its as that this these with if then than so one you your "
    "each any all into do does when whenever what which there has have will can".split()
)
_NEGATION = re.compile(
    r"\b(?:do\s+not|don't|must\s+not|should\s+not|cannot|never|not|avoid|instead\s+of|rather\s+than)\b([^.;]*)",
    re.IGNORECASE,
)
_OPPOSITES = (
    ("add", "subtract"),
    ("multiply", "divide"),
    ("include", "exclude"),
    ("up", "down"),
    ("before", "after"),
    ("first", "last"),
    ("more", "less"),
    ("increase", "decrease"),
    ("always", "never"),
    ("larger", "smaller"),
    ("maximum", "minimum"),
)
_SHARED_WORDS = 3
_ALIKE = 0.6
"""Share of the shorter of two lists of words that the other must hold, to speak of the same (ours)."""
_FEWEST = 4
"""Entries from which a change is measured as drift: below, every step changes most of the library."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something a reader should look at."""

    kind: Kind
    id: str | None
    """The experience concerned; None for the whole step."""
    why: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the training examples hold, looked through once."""

    answers: tuple[str, ...]
    """Expected outputs, one text per field; labels are left out: words that several examples have as their answer."""
    tasks: tuple[str, ...]
    """Inputs, one text per example."""

    @classmethod
    def of(cls, tasks: Sequence[str], answers: Iterable[str]) -> Known:
        """From the examples' inputs and expected outputs as texts."""
        counts = Counter(" ".join(answer.split()) for answer in answers)
        kept = tuple(a for a, count in counts.items() if a and (count == 1 or _NUMBER.fullmatch(a)))
        return cls(kept, tuple(tasks))


def leaked_answers(text: str, answers: Iterable[str]) -> list[str]:
    """Those of the training answers that an experience gives away.

    A number counts from three significant digits on (12, 100 and 365 are in every other piece of advice), a smaller one
    only where the text calls it the answer. Words count if they are several, or one that is written with a capital.
    """
    numbers = {_plain(found) for found in _NUMBER.findall(text)}
    lowered = f" {' '.join(_WORD.findall(text.lower()))} "
    return [answer for answer in answers if _is_leaked(answer, text, numbers, lowered)]


def _is_leaked(answer: str, text: str, numbers: set[str], lowered: str) -> bool:
    if _NUMBER.fullmatch(answer):
        number = _plain(answer)
        if _digits(number) >= _LEAST_DIGITS and number not in _CONSTANTS:
            return number in numbers
        return re.search(rf"{_STATED}{re.escape(number)}(?![\d.]*\d)", text, re.IGNORECASE) is not None
    words = _WORD.findall(answer.lower())
    telling = len(words) > 1 or (answer[:1].isupper() and len(answer) > 3)  # noqa: PLR2004 - Yes, No, A, B
    return bool(words) and telling and f" {' '.join(words)} " in lowered


def over_specific(text: str, drawn_from: Sequence[str], tasks: Sequence[str] = ()) -> list[str]:
    """Names and numbers of an experience that belong to the problems it was drawn from.

    Args:
        text: The experience.
        drawn_from: Inputs of those problems.
        tasks: Inputs of all problems; a name that several of them hold is no problem's own.
    """
    theirs = {_plain(found) for task in drawn_from for found in _NUMBER.findall(task)}
    numbers = [n for n in dict.fromkeys(map(_plain, _NUMBER.findall(text))) if n in theirs and _is_own(n)]
    names = {name for task in drawn_from for name in _NAME.findall(task)}
    found = [name for name in dict.fromkeys(_NAME.findall(text)) if name in names]
    return numbers + [name for name in found if sum(name in task for task in tasks) <= 1]


def _is_own(number: str) -> bool:
    return _digits(number) > 1 and number not in _CONSTANTS


def _plain(number: str) -> str:
    plain = number.replace(",", "")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _digits(number: str) -> int:
    """Significant digits: 1200 has two."""
    return len(number.lstrip("-").replace(".", "").strip("0"))


def contradicted(text: str, others: Iterable[tuple[str, str]]) -> list[str]:
    """Ids of those of the other experiences `(id, text)` that say the opposite of a text, by their words.

    What one wants the other must not want, or both must say the same with one word turned into its opposite; and where
    both have a condition ("When ..."), the conditions must share words.
    """
    mine = _said(text)
    return [id for id, other in others if _opposed(mine, _said(other))]


@dataclass(frozen=True, slots=True)
class _Said:
    condition: frozenset[str]
    wanted: frozenset[str]
    unwanted: frozenset[str]


@lru_cache(maxsize=65536)
def _said(text: str) -> _Said:
    condition, comma, rest = (
        text.partition(",") if re.match(r"(?:when|if|for|whenever)\b", text, re.I) else ("", "", text)
    )
    rest = rest if comma or not condition else condition
    unwanted = " ".join(found[1] for found in _NEGATION.finditer(rest))
    return _Said(_words(condition), _words(_NEGATION.sub(" ", rest)), _words(unwanted))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _FILLER


def _opposed(a: _Said, b: _Said) -> bool:
    conditional = a.condition and b.condition and a.condition != b.condition
    if conditional and not _alike(a.condition, b.condition, least=2):
        return False
    crossed = _alike(a.wanted, b.unwanted) or _alike(b.wanted, a.unwanted)
    agreed = _alike(a.wanted, b.wanted, share=0.8) or _alike(a.unwanted, b.unwanted, share=0.8)
    return (crossed and not agreed) or _turned(a.wanted, b.wanted)


def _alike(a: frozenset[str], b: frozenset[str], *, share: float = _ALIKE, least: int = _SHARED_WORDS) -> bool:
    shared = len(a & b)
    return shared >= least and shared >= share * min(len(a), len(b))


def _turned(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether two lists of words differ in a word and its opposite, and in little else."""
    for x, y in _OPPOSITES:
        swapped = (x in a and y in b and x not in b and y not in a) or (y in a and x in b and y not in b and x not in a)
        if swapped and _alike(a - {x, y}, b - {x, y}, share=0.8, least=2):
            return True
    return False


def drift(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> float:
    """Share of the entries `(id, text)` that a step added, removed or rewrote, in [0, 1]; 0 for a small library."""
    old, new = dict(before), dict(after)
    ids = old.keys() | new.keys()
    changed = sum(old.get(id) != new.get(id) for id in ids)
    return changed / len(ids) if len(old) >= _FEWEST else 0.0
