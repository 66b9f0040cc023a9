"""The fields of a reply, each as it was written: between markers, tags, headings or JSON keys, or the whole text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

_THOUGHTS = re.compile(
    r"\A\s*(?:<(think|thinking|thought|scratchpad)>.*?</\1>|\[think\].*?\[/think\]|<unused\d+>thought.*?<unused\d+>)\s*"
    r"|\A(?:\s*<(?:think|thinking|thought|scratchpad)>)?.*</think(?:ing)?>\s*|\A.*<\|message\|>",
    re.DOTALL | re.IGNORECASE,
)
_MARK = re.compile(
    r"(?:^[-•*_`>\d.)\t \u00a0]*\[{1,3}|(?P<within>(?<![\"\w])\[\[))"
    r"[^\S\n]*#{1,3}[^\S\n]*(?P<name>\w[\w -]*?)[^\S\n]*#{1,3}[^\S\n]*\]{0,3}[*_`]*[^\S\n]*:?",
    re.MULTILINE,
)
"""A field's mark; `within` a line only that of a wanted field counts: a summary may speak of others."""
_COMPLETED = re.compile(
    r"(?:(?:(?:[-*•]|(?<!\d)\d{1,2}[.)])[ \t]*)?(?:\[\[\s*)?##\s*completed\s*##(?:\s*\]\]?)?"
    r"|<\|[a-z_]+\|>|</s>|\[\[?[ \t]*#[\w #]*\]?|\[\[)\s*\Z",
    re.IGNORECASE,
)
"""What may stand at the end of a reply, more than once, and is none of its text; a mark may have been cut."""
_MOST_AT_END = 3
_LONGEST_AT_END = 100
"""Characters of such a mark at most, so that not all of a reply is searched for it."""
_UNSEEN = re.compile("[\u200b\u2060\ufeff\r]")
"""Characters of no width that some endpoints and models put between others, but for those that join letters."""


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
    text = _UNSEEN.sub("", without_thought(reply, wanted)).strip()
    text = text.replace("\\n", "\n") if "\\n[[ ##" in text else text
    for _ in range(_MOST_AT_END):
        found = _COMPLETED.search(text, max(0, len(text) - _LONGEST_AT_END))
        text = text if found is None else text[: found.start()].strip()
    named = _between_marks(text, wanted) or _between_tags(text, wanted)
    if named and len(named) == len(wanted) and all(value.strip() for value in named.values()):
        return Parts(named)
    from tfgrpo_dspy.steps.reading.json_text import parse_calls, parse_json

    parsed = parse_json(text)
    members = _members([parsed.value, *parse_calls(text)], {key_of(name): name for name in wanted}, depth=6)
    if len(members) > len(named):
        return Parts(members, parsed.is_whole)
    named = named or _below_headings(text, wanted)
    if not named and len(wanted) == 1 and text:
        return Parts(dict.fromkeys(wanted, text), parsed.is_whole)
    return Parts(named)


def without_thought(reply: str, wanted: Collection[str] = ()) -> str:
    """The reply without the thoughts that reasoning models put before it; as it is if nothing follows them."""
    while (thought := _THOUGHTS.match(reply)) and not (thought[1] and thought[1].lower() in wanted):
        if not reply[thought.end() :].strip():
            break
        reply = reply[thought.end() :]
    return reply


def key_of(name: object) -> str:
    """A field's name or a JSON key without what models vary in it: case, blanks, hyphens, marks of emphasis."""
    return re.sub(r"[\W_]+", "", str(name)).casefold()


@lru_cache(maxsize=256)
def _names(wanted: tuple[str, ...]) -> str:
    """A pattern for the names, in which `_` may be a blank."""
    ordered = sorted(wanted, key=len, reverse=True)
    return "|".join(re.escape(name).replace("_", r"[_ -]?") for name in ordered)


def _between_marks(text: str, wanted: Collection[str]) -> dict[str, str]:
    """`[[ ## name ## ]]`, its brackets or blanks perhaps missing; a name that nobody asked for ends a piece too.

    What stands before the first mark belongs to the first wanted field, if that has none of its own.
    """
    by_key = {key_of(name): name for name in wanted}
    found = [mark for mark in _MARK.finditer(text) if not mark["within"] or key_of(mark["name"]) in by_key]
    pieces = _pieces(text, found, by_key)
    lead = text[: found[0].start()].strip() if found else ""
    missing = next((name for name in wanted if name not in pieces), None)
    return {missing: lead, **pieces} if pieces and lead and missing == next(iter(wanted)) else pieces


def _below_headings(text: str, wanted: Collection[str]) -> dict[str, str]:
    """`## name`, `**name**` or `name:` at the beginning of a line."""
    names = _names(tuple(wanted))
    lead = r"^[^\w\n#]{0,6}(?:(?:\d{1,2}|[a-z])[.)]+[ \t]+)?(?:(?:my|your|the)[ \t]+)?"
    alone = rf"(?:#{{1,6}}[ \t]*[*_`]*|\*\*)({names})[*_`]*[ \t]*:?[*_`# \t]*$"
    inline = rf"[*_`\"']{{0,3}}({names})[*_`\"']{{0,3}}[ \t]*(?:[:=\uff1a]|[-–—](?=[ \t]))[*_`]{{0,3}}"
    mark = re.compile(rf"{lead}(?:{alone}|{inline})", re.MULTILINE | re.IGNORECASE)
    return _pieces(text, [*mark.finditer(text)], {key_of(name): name for name in wanted})


def _pieces(text: str, found: Sequence[re.Match[str]], by_key: Mapping[str, str]) -> dict[str, str]:
    """What stands between marks; of a field that is named twice, the first that says something."""
    ends = [*(following.start() for following in found[1:]), len(text)] if found else []
    pieces: dict[str, str] = {}
    for match, end in zip(found, ends, strict=True):
        name = by_key.get(key_of([group for group in match.groups() if group][-1]))
        if name is not None:
            said = text[match.end() : end].strip()
            is_shown = len(said) <= 2 * len(name) + 8 and key_of(said) == key_of(name)  # `{name}`, as in prompts
            pieces[name] = pieces.get(name) or ("" if is_shown else said)
    return pieces


def _between_tags(text: str, wanted: Collection[str]) -> dict[str, str]:
    """`<name>...</name>`, or a parameter of that name; the last one may be left open."""
    pieces: dict[str, str] = {}
    for name in wanted:
        tag = _names((name,))
        opening = rf"<(?:({tag})(?:\s[^>]*)?|\w+(?:\s+name)?\s*=\s*[\"']?(?:{tag})[\"']?)>"
        closing = rf"(?:</\s*(?(1)(?:{tag})|\w+)\s*>|\Z)"
        found = re.search(rf"{opening}(?P<said>.*?){closing}", text, re.DOTALL | re.IGNORECASE)
        if found:
            said = found["said"].strip().removeprefix("<![CDATA[").removesuffix("]]>")
            pieces[name] = said.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return pieces


def _members(value: Any, by_key: Mapping[str, str], depth: int) -> dict[str, Any]:
    """Of all objects in JSON the one that has most of the names; of a list, what its items have together.

    Also where that stands within a tool call or a wrapper.
    """
    from tfgrpo_dspy.steps.reading.json_text import parse_json

    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        value = parse_json(value).value
    if not isinstance(value, list | dict) or not depth:
        return {}
    inner = list(value.values() if isinstance(value, dict) else value)
    found = [_members(each, by_key, depth - 1) for each in inner]
    if isinstance(value, list):
        if len({name for each in found for name in each}) == sum(map(len, found)):
            return {name: said for each in found for name, said in each.items()}
    else:
        found.insert(0, {by_key[key_of(key)]: said for key, said in value.items() if key_of(key) in by_key})
    if isinstance(value, dict) and not any(found) and len(inner) > 1 and key_of(inner[0]) in by_key:
        return {by_key[key_of(inner[0])]: inner[1]}  # such as `{"name": "decision", "value": "new"}`
    return max(found, key=len, default={})
