"""JSON in a model's text: found, parsed, mended where it can be, and known for broken where it broke off."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from typing import Any, NamedTuple

import json_repair

_FENCED = re.compile(r"(```|~~~)[ \t]*(?:[\w+-]*)[ \t]*\n(.*?)(?:\n[ \t]*\1|\Z)", re.DOTALL)
_OPENING = re.compile(
    r"""\{(?=\s*(?:["'{}\[]|//|/\*|\w+\s*:|\Z))|\[(?=\s*(?:["'{\[\]]|//|/\*|(?:-?[\d.]+|null|true|false)\s*,|\Z))"""
)
"""A bracket that may open JSON: `[G7]` in a sentence and `{2}` in a formula do not."""
_FURTHER = re.compile(r"""\{(?=\s*["'])|\[(?=\s*\{)""")
"""One that may after some JSON was read: what follows is often a remark."""
_MOST_TRIED = 20
"""Openings in vain that are tried at most."""
_STRAIGHT = str.maketrans("“”„", '"""')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?P<end>"|\Z)|[{}\[\],]', re.DOTALL)
_CALL = re.compile(r"(?<!\w)\w+\(\s*\w+\s*=")
_LONGEST_CALLS = 20_000
_UNESCAPED = re.compile(r"""\\(?![\\'"nrtu])""")
_CLOSES = {"{": "}", "[": "]"}


class Parsed(NamedTuple):
    """What JSON in a text says."""

    value: Any
    """None if the text holds none."""
    is_whole: bool
    """Whether it is there to its end; of one that is not, `value` holds what was finished before."""


class _Scan(NamedTuple):
    """How a text's brackets stand at its end."""

    open_: str
    """Those still open."""
    in_string: bool
    whole_until: int
    """Where the last finished part ends: an item of a list, or a member of an object outside all lists."""
    open_there: str
    """The brackets open at that place."""
    end: int | None
    """Where the first bracket is closed; None if it never is."""


def unfenced(text: str) -> str:
    """The text of the first block between fences; the whole text if it has none."""
    found = _FENCED.search(text)
    return found[2].strip() if found else text.strip()


def parse_json(text: str) -> Parsed:
    """The JSON objects and lists in a text, between fences or not; several as a list of them.

    Mended are trailing commas, other quotes, Python's constants, comments and bad escapes. What stands after the place
    where it broke off is not guessed.
    """
    text = _decoded(text)
    values: list[Any] = []
    place, tried = 0, 0
    while tried < _MOST_TRIED and (opening := (_FURTHER if values else _OPENING).search(text, place)):
        scan = _scan(text, opening.start())
        if scan.end is None:
            value, is_whole = _unfinished(text, opening.start(), scan)
            values += [] if value is None else [value]
            return Parsed(_one_or_all(values), is_whole)
        value = _loads(text[opening.start() : scan.end])
        if _tells(value):
            values.append(value)
            place = scan.end
        else:
            place, tried = opening.end(), tried + 1
    return Parsed(_one_or_all(values), True)


def parse_calls(text: str) -> list[dict[str, Any]]:
    """Calls in Python's syntax, `add(text="When ...")`, as JSON tells of a tool call; empty if the text is none."""
    code = _UNESCAPED.sub(r"\\\\", unfenced(text))
    if len(code) > _LONGEST_CALLS or not _CALL.search(code):
        return []
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and node.keywords]
        return [
            {
                "name": ast.unparse(call.func),
                "arguments": {str(k.arg): ast.literal_eval(k.value) for k in call.keywords},
            }
            for call in calls
        ]
    return []


def _decoded(text: str) -> str:
    """The text of JSON that was itself written as a text of JSON, and with straight quotes if it has no others."""
    text = text.strip()
    if text[:2] in ('"{', '"['):
        with suppress(ValueError, RecursionError):
            text = str(json.loads(text))
    return text if '"' in text else text.translate(_STRAIGHT)


def _tells(value: Any) -> bool:
    """Whether JSON says more than numbers, such as a list of references in a sentence."""
    if isinstance(value, list):
        return not value or any(_tells(item) or isinstance(item, str) for item in value)
    return isinstance(value, dict)


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values or None


def _unfinished(text: str, start: int, scan: _Scan) -> tuple[Any, bool]:
    """What is there of JSON whose brackets do not close; whole after all if its quotes only confused the count."""
    if scan.in_string and text.rstrip()[-1:] in ("}", "]"):
        return _loads(text[start:]), True
    finished = text[start : scan.whole_until]
    closed = finished + "".join(_CLOSES[bracket] for bracket in reversed(scan.open_there))
    return (_loads(closed) if finished else None), False


def _scan(text: str, start: int) -> _Scan:
    """Go through a text from a bracket on, to where that is closed or to the end."""
    open_, whole_until, open_there, in_string = "", start, "", False
    for token in _TOKEN.finditer(text, start):
        mark = token[0][0]
        if mark == '"':
            in_string = token["end"] == ""
            continue
        if mark in "{[":
            open_ += mark
            continue
        open_ = open_ if mark == "," else open_[:-1]
        if not open_:
            return _Scan("", False, token.end(), "", token.end())
        if "{" not in open_.partition("[")[2]:  # between items or members, rather than within an item of a list
            whole_until, open_there = token.end() - (mark == ","), open_
    return _Scan(open_, in_string, whole_until, open_there, None)


def _loads(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text, strict=False)
    with suppress(ValueError, RecursionError):
        mended = json_repair.loads(text)
        return None if mended == "" else mended
    return None
