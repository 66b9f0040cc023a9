"""The fields of a reply, each as it was written: between markers, tags, headings or JSON keys, or the whole text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

_THOUGHT = re.compile(r"\A\s*<(think|thinking|thought|scratchpad)>.*?</\1>\s*", re.DOTALL | re.IGNORECASE)
_UNCLOSED_THOUGHT = re.compile(r"\A\s*(?:<(?:think|thinking|thought|scratchpad)>)?.*</think(?:ing)?>\s*", re.DOTALL)
_MARK = re.compile(r"^[ \t*>]*\[{1,2}[ \t]*#{1,3}[ \t]*(\w[\w -]*?)[ \t]*#{1,3}[ \t]*\]{0,2}[ \t]*:?", re.MULTILINE)
_COMPLETED = re.compile(r"\[\[\s*##\s*completed\s*##\s*\]\]?\s*\Z|<\|[a-z_]+\|>\s*\Z", re.IGNORECASE)
_WRAPPERS = ("arguments", "parameters", "args", "output", "outputs", "response", "result", "function", "tool_calls")


class Parts(NamedTuple):
    """A reply taken apart."""

    values: Mapping[str, Any]
    """Field to what was written: a text, or what JSON made of it."""
    is_whole: bool = True
    """False if it broke off in JSON; what was finished before is there."""


def split_reply(reply: str, wanted: Collection[str]) -> Parts:
    """What a reply says in each wanted field, as far as it names them.

    A reply that names none is taken for the value of the only field that is wanted; for nothing, if there are several.
    """
    text = _COMPLETED.sub("", without_thought(reply)).strip()
    named = _between_marks(text, wanted) or _between_tags(text, wanted)
    if named and all(_present(value) for value in named.values()) and len(named) == len(wanted):
        return Parts(named)
    parts = _in_json(text, wanted)
    if len(parts.values) > len(named):
        return parts
    named = named or _below_headings(text, wanted)
    if not named and len(wanted) == 1 and text:
        return Parts(dict.fromkeys(wanted, text), parts.is_whole)
    return Parts(named)


def without_thought(reply: str) -> str:
    """The reply without the thoughts that reasoning models put before it; as it is if nothing follows them."""
    for thought in (_THOUGHT, _UNCLOSED_THOUGHT):
        shown = thought.sub("", reply, count=1)
        if shown.strip() and shown != reply:
            return shown
    return reply


def key_of(name: object) -> str:
    """A field's name or a JSON key without what models vary in it: case, blanks, hyphens, marks of emphasis."""
    return re.sub(r"[\s_\-*`\"']+", "", str(name)).casefold()


def _present(value: object) -> bool:
    return bool(str(value).strip())


@lru_cache(maxsize=256)
def _names(wanted: tuple[str, ...]) -> str:
    """A pattern for the names, in which `_` may be a blank."""
    ordered = sorted(wanted, key=len, reverse=True)
    return "|".join(re.escape(name).replace("_", r"[_ -]?") for name in ordered)


def _between_marks(text: str, wanted: Collection[str]) -> dict[str, str]:
    """`[[ ## name ## ]]`, its brackets or blanks perhaps missing; a name that nobody asked for ends a piece too.

    What stands before the first mark belongs to the first wanted field, if that has none of its own.
    """
    pieces = _pieces(text, _MARK, wanted)
    first = _MARK.search(text)
    lead = text[: first.start()].strip() if first else ""
    missing = next((name for name in wanted if name not in pieces), None)
    return {missing: lead, **pieces} if pieces and lead and missing == next(iter(wanted)) else pieces


def _below_headings(text: str, wanted: Collection[str]) -> dict[str, str]:
    """`## name`, `**name:**` or `name:` at the beginning of a line."""
    names = _names(tuple(wanted))
    lead = r"^[ \t]*(?:[-*•][ \t]+|\d+[.)][ \t]+)?"
    alone = rf"#{{1,6}}[ \t]*[*_`]*({names})[*_`]*[ \t]*:?[ \t]*$"
    inline = rf"[*_`\"']{{0,3}}({names})[*_`\"']{{0,3}}[ \t]*[:=][*_`]{{0,3}}"
    mark = rf"{lead}(?:{alone}|{inline})"
    return _pieces(text, re.compile(mark, re.MULTILINE | re.IGNORECASE), wanted)


def _pieces(text: str, mark: re.Pattern[str], wanted: Collection[str]) -> dict[str, str]:
    """What stands between marks; of a field that is named twice, the first that says something."""
    by_key = {key_of(name): name for name in wanted}
    found = list(mark.finditer(text))
    ends = [*(following.start() for following in found[1:]), len(text)] if found else []
    pieces: dict[str, str] = {}
    for match, end in zip(found, ends, strict=True):
        name = by_key.get(key_of(next(group for group in match.groups() if group)))
        if name is not None:
            pieces[name] = pieces.get(name) or text[match.end() : end].strip()
    return pieces


def _between_tags(text: str, wanted: Collection[str]) -> dict[str, str]:
    """`<name>...</name>`; the last one may be left open."""
    pieces: dict[str, str] = {}
    for name in wanted:
        tag = _names((name,))
        found = re.search(rf"<({tag})>(.*?)(?:</(?:{tag})>|\Z)", text, re.DOTALL | re.IGNORECASE)
        if found:
            pieces[name] = found[2].strip().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return pieces


def _in_json(text: str, wanted: Collection[str]) -> Parts:
    """The members of a JSON object that have a wanted name, also where that stands within a tool call or a wrapper."""
    from tfgrpo_dspy.steps.reading.json_text import parse_json

    parsed = parse_json(text)
    by_key = {key_of(name): name for name in wanted}
    return Parts(_members(parsed.value, by_key, depth=4), parsed.is_whole)


def _members(value: Any, by_key: Mapping[str, str], depth: int) -> dict[str, Any]:
    from tfgrpo_dspy.steps.reading.json_text import parse_json

    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        value = parse_json(value).value
    if isinstance(value, list):
        found = [_members(item, by_key, depth - 1) for item in value] if depth else []
        return max(found, key=len, default={})
    if not isinstance(value, dict):
        return {}
    named = {by_key[key_of(key)]: said for key, said in value.items() if key_of(key) in by_key}
    inner = [said for key, said in value.items() if key_of(key) in map(key_of, _WRAPPERS) or len(value) == 1]
    deeper = [_members(said, by_key, depth - 1) for said in inner if isinstance(said, dict | list | str)]
    return max([named, *deeper], key=len) if depth else named
