"""When two problems are the same, when two answers are, and what a dataset's hash covers. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dspy

_TOKEN = re.compile(
    r"\d+(?:\.\d+)?|[a-z]+|[^\W_]"  # numbers, Latin words, and each character of the other scripts
    r"|-(?![a-z]{2})"  # a minus sign, but no hyphen
    r"|(?<=[0-9a-z)}\]])(?<![a-z]{2})!"  # a factorial, but no exclamation
    r"|[+*/=<>^%|\u2200-\u22ff]"  # the rest of arithmetic: x + 1 is not x * 1
)
_DASHES = str.maketrans("\u2010\u2011\u2012\u2013\u2212", "-----")
_NO_PART_OF_A_NUMBER = re.compile(r"[$°]|\^?\s*\{?\\(?:circ|degree)\}?|(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
_INTEGER = re.compile(r"([+-]?)0*([0-9]+)")


@lru_cache(maxsize=1 << 15)  # DAPO holds each of its 17 917 rows a hundred times
def problem_key(text: str) -> str:
    """What two problems are compared by: equal keys, the same problem.

    Passed over are Unicode's compatibility forms (NFKC), case, white space and punctuation, TeX's dollar signs, braces
    and backslashes among it. Kept are words, numbers with their decimal points and the signs of arithmetic. Problems
    in other words are other problems: transcriptions of one contest do differ.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES).casefold()
    return " ".join(_TOKEN.findall(plain)) or plain.strip()


def answer_key(text: str) -> str:
    r"""What two answers are compared by: integers by value (`025`, `25` and `25^\circ` agree), else the spaced text.

    It only tells repeated rows from conflicting ones; whether an answer is right is for a verifier to say.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES)
    integer = _INTEGER.fullmatch(_NO_PART_OF_A_NUMBER.sub("", plain).strip())
    if integer is None:
        return _spaced(plain)
    sign, digits = integer.groups()
    return f"-{digits}" if sign == "-" and digits != "0" else digits


def problem_of(example: dspy.Example) -> str:
    """The inputs of an example as one text."""
    return "\n".join(str(value) for value in dict(example.inputs()).values())


def content_hash(examples: Iterable[dspy.Example]) -> str:
    """SHA-256 over the inputs and the answer of every example, in hexadecimal.

    The same for every file format and row order, and it sees neither other fields nor names of fields, neither runs of
    white space nor how an integer is spelled. Any other change in a problem or an answer changes it.
    """
    rows = sorted(
        json.dumps([_spaced(unicodedata.normalize("NFC", problem_of(e))), answer_key(str(e.get("answer", "")))])
        for e in examples
    )
    return _sha256("\n".join(rows))


def draw(examples: Sequence[dspy.Example], size: int, seed: int) -> tuple[dspy.Example, ...]:
    """So many examples at random, without repetition; the draw depends on seed and problems, not on their order."""
    return tuple(sorted(examples, key=lambda example: _sha256(f"{seed} {problem_key(problem_of(example))}"))[:size])


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()  # JSON can hold half a surrogate pair
