"""Answers, names and numbers of the training problems in a text of the library, found without a model; pure.

They are hints: cheap, explained, never proof. Each is kept from common false alarms, which the functions state.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["leaked answer", "own words"]
"""What gives the answer of a training problem away; what names the people and numbers of the problem it came from."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|\.\d)")
_COUNTED = re.compile(r"(?:\A|(?<=[.:;,!?\n])|(?<=[.:;,!?] ))\(?\d{1,2}[.)](?=\s)")
"""The numbers of a list's points, which count nothing of a problem."""
_CONSTANTS = frozenset("3.14 3.1416 9.81 12 24 52 64 128 180 256 273.15 360 365 366 512 1024".split())
"""Numbers that general advice may well name, besides powers of ten and their multiples."""
_LEAST_DIGITS = 3
"""Significant digits from which a number in an experience is taken for a training answer (ours)."""
_SEVERAL = 2
"""Shared numbers from which even small ones are taken for those of the problem (ours)."""
_RETOLD = 6
"""Words in a row from which a passage of a problem is taken for the problem told again (ours)."""
_STATED = r"(?:answer|result|solution)\s*(?:is|of|=|:|equals)\s*(?:about\s+)?\$?"
_NAME = re.compile(r"(?<![.!?:;]\s)(?<!^)\b[A-Z][a-z]{2,}\b")
_CAPITAL = re.compile(r"\b[A-Z][a-z]{2,}\b")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Flag:
    """Something a reader should look at."""

    kind: Kind
    id: str
    """The experience concerned."""
    why: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the training examples hold, looked through once."""

    tasks: tuple[str, ...] = ()
    """Inputs, one text per example."""
    of_each: tuple[tuple[str, ...], ...] = ()
    """Their expected outputs, one text per field; labels, words that several have as their answer, are left out."""

    @classmethod
    def of(cls, tasks: Sequence[str], answers: Iterable[Sequence[str]]) -> Known:
        """From the examples' inputs and expected outputs as texts."""
        given = [[" ".join(answer.split()) for answer in row] for row in answers]
        counts = Counter(answer for row in given for answer in row)
        telling = {a for a, count in counts.items() if a and (count == 1 or _NUMBER.fullmatch(a))}
        return cls(tuple(tasks), tuple(tuple(a for a in row if a in telling) for row in given))

    @property
    def answers(self) -> tuple[str, ...]:
        """The expected outputs of all examples, each once."""
        return tuple(dict.fromkeys(answer for row in self.of_each for answer in row))

    def tasks_of(self, examples: Iterable[str]) -> tuple[str, ...]:
        """The inputs of examples by their names (`e12`)."""
        return tuple(self.tasks[place] for place in _places(examples) if place < len(self.tasks))

    def answers_of(self, examples: Iterable[str]) -> tuple[str, ...]:
        """The expected outputs of examples by their names."""
        return tuple(a for place in _places(examples) if place < len(self.of_each) for a in self.of_each[place])


def _places(examples: Iterable[str]) -> list[int]:
    return [int(name[1:]) for name in examples if name[1:].isdigit()]


def leaked_answers(text: str, answers: Iterable[str]) -> list[str]:
    """Those of the training answers that an experience gives away.

    A number counts from three significant digits on (12, 100 and 365 are in every other piece of advice), a smaller one
    only where the text calls it the answer. Words count if they are several, or one that is written with a capital.
    """
    numbers, lowered = set(_numbers(text)), _spaced(text)
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


def own_words(text: str, drawn_from: Sequence[str], tasks: Sequence[str] = ()) -> list[str]:
    """Names and numbers of an experience that belong to the problems it was drawn from; else what it repeats of one.

    A number of one significant digit counts where several of the problem's numbers are named, and six words in a row
    are a repetition.

    Args:
        text: The experience.
        drawn_from: Inputs of those problems.
        tasks: Inputs of all problems; a name or passage that several of them hold is no problem's own.
    """
    theirs = {number for task in drawn_from for number in _numbers(task)}
    shared = [n for n in dict.fromkeys(_numbers(text)) if n in theirs and n not in _CONSTANTS]
    numbers = [n for n in shared if _digits(n) > 1] if len(shared) < _SEVERAL else shared
    names = {name for task in drawn_from for name in _CAPITAL.findall(task)}  # that one is at the head of a sentence
    found = [name for name in dict.fromkeys(_NAME.findall(text)) if name in names]
    named = [name for name in found if sum(name in task for task in tasks) <= 1]
    return numbers + named or _retold(text, drawn_from, tasks)


def _retold(text: str, drawn_from: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """The first words in a row that one of the problems has as well, if there are any, and no other problem."""
    words, theirs = _WORD.findall(text.lower()), [_spaced(task) for task in drawn_from]
    for start in range(len(words) - _RETOLD + 1):
        passage = " ".join(words[start : start + _RETOLD])
        is_theirs = any(f" {passage} " in task for task in theirs)
        if is_theirs and sum(f" {passage} " in _spaced(task) for task in tasks) <= 1:
            return [passage]
    return []


def _spaced(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _numbers(text: str) -> list[str]:
    return [_plain(found) for found in _NUMBER.findall(_COUNTED.sub("", text))]


def _plain(number: str) -> str:
    plain = number.replace(",", "")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _digits(number: str) -> int:
    """Significant digits: 1200 has two."""
    return len(number.lstrip("-").replace(".", "").strip("0"))
