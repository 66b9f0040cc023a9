"""JSON in a model's text: found, parsed, mended where it can be, and known for broken where it broke off."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import json_repair

_FENCED = re.compile(r"```[ \t]*(?:[\w+-]*)[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_OPENING = re.compile(
    r"""\{(?=\s*(?:["'{}\[]|\w+\s*:|\Z))|\[(?=\s*(?:["'{\[\]]|(?:-?[\d.]+|null|true|false)\s*,|\Z))"""
)
"""A bracket that may open JSON: `[G7]` in a sentence and `{2}` in a formula do not."""
_MOST_TRIED = 20
"""Openings that are tried at most."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?P<end>"|\Z)|[{}\[\],]', re.DOTALL)
_FOLLOWING = re.compile(r"[\s,;]*(?=[{])")
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
    return found[1].strip() if found else text.strip()


def parse_json(text: str) -> Parsed:
    """The first JSON object or list in a text, between fences or not; several objects one after the other as a list.

    Mended are trailing commas, single quotes, Python's constants, comments and bad escapes. What stands after the place
    where it broke off is not guessed.
    """
    found = unfenced(text)
    for opening in islice(_OPENING.finditer(found), _MOST_TRIED):
        parsed = _parse_from(found[opening.start() :])
        if not parsed.is_whole or _tells(parsed.value):
            return parsed
    return Parsed(None, True)


def _parse_from(rest: str) -> Parsed:
    values: list[Any] = []
    while rest:
        scan = _scan(rest)
        if scan.end is None:
            value, is_whole = _unfinished(rest, scan)
            values += [value] if value is not None else []
            return Parsed(_one_or_all(values), is_whole)
        values.append(_loads(rest[: scan.end]))
        following = _FOLLOWING.match(rest, scan.end) if rest[0] == "{" else None
        rest = rest[following.end() :] if following else ""
    return Parsed(_one_or_all(values), True)


def _tells(value: Any) -> bool:
    """Whether JSON says more than numbers, such as a list of references in a sentence."""
    if isinstance(value, list):
        return not value or any(_tells(item) or isinstance(item, str) for item in value)
    return isinstance(value, dict)


def _one_or_all(values: list[Any]) -> Any:
    kept = [value for value in values if value is not None]
    return None if not kept else kept[0] if len(kept) == 1 else kept


def _unfinished(text: str, scan: _Scan) -> tuple[Any, bool]:
    """What is there of JSON whose brackets do not close; whole after all if its quotes only confused the count."""
    if scan.in_string and text.rstrip()[-1:] in ("}", "]"):
        return _loads(text), True
    finished = text[: scan.whole_until]
    closed = finished + "".join(_CLOSES[bracket] for bracket in reversed(scan.open_there))
    return (_loads(closed) if finished else None), False


def _scan(text: str) -> _Scan:
    """Go through a text that begins with a bracket, to where that is closed or to the end."""
    open_, whole_until, open_there, in_string = "", 0, "", False
    for token in _TOKEN.finditer(text):
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
        if _is_between_items(open_):
            whole_until, open_there = token.end() - (mark == ","), open_
    return _Scan(open_, in_string, whole_until, open_there, None)


def _is_between_items(open_: str) -> bool:
    """Whether what ends here is a whole item or member, rather than a part of an item in a list."""
    return "{" not in open_.partition("[")[2]


def _loads(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text, strict=False)
    with suppress(ValueError, RecursionError):
        mended = json_repair.loads(text)
        return None if mended == "" else mended
    return None
