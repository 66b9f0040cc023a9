"""The operations that a model wrote, item by item: good ones survive whatever stands beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.steps.reading.fields import key_of
from tfgrpo_dspy.steps.reading.json_text import Parsed, parse_json, unfenced
from tfgrpo_dspy.steps.reading.odd import Items, Odd
from tfgrpo_dspy.text import one_line, shorten

_OPS = {
    "add": "add append insert create new include addition",
    "modify": "modify update edit revise refine change replace rewrite sharpen correct generalize generalise improve "
    "merge combine modification",
    "delete": "delete remove drop discard deletion",
    "keep": "keep none noop nochange unchanged retain skip ignore leave nothing",
}
_OP_OF = {key_of(word): op for op, words in _OPS.items() for word in words.split()}
_KEYS = {
    "op": "op operation action type kind operationtype actiontype decision name",
    "text": "text content experience advice newtext newcontent newexperience updatedtext lesson insight value",
    "id": "id ids target targetid entry entryid experienceid existingid g",
    "merged": "mergedfrom mergefrom merge mergedids from replaces with",
    "sources": "sources source label labels cites citations evidence groups group candidates",
    "reason": "reason why rationale justification explanation because",
    "scope": "scope predictor",
}
_KEY_OF = {word: key for key, words in _KEYS.items() for word in words.split()}
_NESTING = frozenset(
    "operations operation ops updates update edits items list item changes arguments parameters".split()
)
_ID = re.compile(r"\A\W*(?:(?:id|entry|experience)\W*)?G?(\d+)(?:\.0)?\W*\Z", re.IGNORECASE)
_IDS_IN = re.compile(r"\bG(\d+)\b", re.IGNORECASE)
_LABEL = re.compile(r"[^\s,;\[\](){}\"']+")
_BULLET = re.compile(r"^\s*(?:[-*•+]|\d+[.)])\s+(.*)$")
_SAID = re.compile(
    rf"\A[*_`\[]*(?P<op>{'|'.join(sorted((w for ws in _OPS.values() for w in ws.split()), key=len, reverse=True))})"
    r"[*_`\]]*(?:\s+(?:entry|experience|candidate))?(?:\s*[(\[*_`]*(?P<id>G\d+)[)\]*_`]*)?\s*(?:[:\-–—]+|\Z)\s*(?P<text>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_CITED = re.compile(r"\s*[(\[](?:sources?:?\s*)?((?:A\d+(?:\.\d+)?[,;\s]*(?:and\s+)?)+)[)\]]\s*\.?\s*\Z", re.IGNORECASE)
_CONDITION = re.compile(r"\A[*_`\"]*(?:when|whenever|if|before|after|once|while|unless)\b", re.IGNORECASE)
_NO_CHANGE = re.compile(
    r"\W*(?:none\b|nothing\b|n/a|no\W+(?:\w+\W+)?(?:operation|change|update|modification)s?\b|\Z)", re.IGNORECASE
)
_DEEPEST = 8
"""Objects within one another that are looked into."""
_MERGES = re.compile(r"\W*(?:merge|combine)", re.IGNORECASE)
_XML_ITEM = re.compile(r"<(item|operation|op)\b[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_XML_MEMBER = re.compile(r"<(\w+)>\s*(.*?)\s*</\1>", re.DOTALL)


def read_operations(raw: Any) -> Items:
    """Every item that can be taken for an operation, and the others as `Odd`. Total, and nothing is made up.

    Read are JSON lists, single objects, objects of lists by operation or of entries by id, tool calls, XML items, and
    points in Markdown; natural spellings of operations and keys are mapped, unknown keys, nulls and blanks dropped. A
    merger of several entries becomes a `modify` of the first and a `delete` of each other.
    """
    is_whole = True
    odd: list[Odd] = []
    if isinstance(raw, str):
        parsed = Parsed(None, True) if _XML_ITEM.search(raw) else parse_json(raw)
        is_whole = parsed.is_whole
        if parsed.value is None and is_whole:
            said = list(_in_words(raw))
            unread = not said and raw.strip() and not _NO_CHANGE.match(raw)
            raw, odd = said, [Odd(f"It holds no operation: {_shown(raw)}", raw)] if unread else []
        else:
            raw = parsed.value
    operations: list[Operation] = []
    for item in _items(raw, _DEEPEST):
        made = _read_item(item)
        if isinstance(made, Odd):
            odd.append(made)
        else:
            operations += made
    return Items(tuple(dict.fromkeys(operations)), tuple(odd), is_whole)


def _items(raw: Any, depth: int) -> Iterator[Any]:
    """The single items, whatever they are nested in."""
    if isinstance(raw, list | tuple):
        for item in raw:
            yield from _items(item, depth - 1) if depth and isinstance(item, list | dict) else [item]
    elif isinstance(raw, dict) and depth:
        yield from _items_of_object(raw, depth)
    elif raw is not None and raw != "":
        yield raw


def _items_of_object(raw: Mapping[str, Any], depth: int) -> Iterator[Any]:
    called = _called_with(raw)
    nested = list(_items(called, depth - 1)) if isinstance(called, dict | list) else [called]
    meant = {_KEY_OF.get(key_of(key)) for key in raw} & {"op", "text"}
    if nested != [called]:
        yield from nested
    elif meant and not {key_of(key) for key in raw} <= _NESTING:
        yield raw
    else:
        for key, value in raw.items():
            below = _items_below(key_of(key), value, depth)
            yield from [raw] if below is None else below


def _items_below(key: str, value: Any, depth: int) -> list[Any] | None:
    """The items that stand under a key: an operation's name, an entry's id, or what holds a list; None for a member."""
    if (op := _OP_OF.get(key)) and key not in _NESTING and isinstance(value, list | dict | str):
        return [{"op": op, **_as_item(item)} for item in _several(value)]
    if _ID.match(key):
        return [{"id": key, **_as_item(value)}]
    return list(_items(value, depth - 1)) if isinstance(value, dict | list) or key in _NESTING else None


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _as_item(value: Any) -> dict[str, Any]:
    """What stands beside an operation's name or an id: the rest of the item, an id, an operation or a text."""
    if isinstance(value, dict):
        return value
    text = str(value)
    if _ID.match(text):
        return {"id": text}
    return {"op": text} if key_of(text) in _OP_OF else {"text": text}


def _read_item(item: Any) -> list[Operation] | Odd:
    if isinstance(item, Add | Modify | Delete | Keep):
        return [item]
    if not isinstance(item, dict):
        said = list(_in_words(f"- {item}"))
        item = said[0] if said else {}
    called = _called_with(item)
    told = _told({**item, **called} if isinstance(called, dict) else item)
    op = _operation_of(told)
    if op is None:
        return Odd(f"It does not say what to do with: {_shown(item)}", str(item))
    try:
        return _made(op, told, item)
    except ValidationError:
        return Odd(f"It cannot be carried out: {_shown(item)}", str(item))


def _called_with(item: Mapping[Any, Any]) -> Any:
    """The arguments of what looks like a tool call; None if nothing does."""
    given = next((value for key, value in item.items() if key_of(key) in ("arguments", "parameters", "function")), None)
    return parse_json(given).value if isinstance(given, str) else given


def _told(item: Mapping[Any, Any]) -> dict[str, Any]:
    """An item's members by our names; of two with one meaning the first that says something.

    Of those that may name the operation (`type` and `name` may also be a title) the first that does.
    """
    told: dict[str, Any] = {}
    for key, value in item.items():
        name = _KEY_OF.get(key_of(key))
        is_said = value not in (None, "", [], {}) and str(value).strip().casefold() not in ("null", "none", "n/a")
        if name == "op" and value is not None:
            is_better = _op_named(value) is not None and _op_named(told.get("op")) is None
            told["op"] = value if is_better or "op" not in told else told["op"]
        elif name is not None and is_said:
            told.setdefault(name, value)
    return told


def _op_named(value: Any) -> str | None:
    """The operation that a word stands for, or the first word of several."""
    first = re.match(r"[^\W\d_]+", str(value).strip())
    return _OP_OF.get(key_of(value)) or (_OP_OF.get(first[0].casefold()) if first else None)


def _operation_of(told: Mapping[str, Any]) -> str | None:
    if (op := _op_named(told.get("op", ""))) is not None:
        is_merger_of_candidates = op == "modify" and _MERGES.match(str(told["op"])) and not _ids(told)
        return "add" if is_merger_of_candidates else op
    if "op" in told or "text" not in told:
        return None
    return "modify" if "id" in told else "add"


def _made(op: str, told: Mapping[str, Any], item: Any) -> list[Operation] | Odd:
    common: dict[str, Any] = {"reason": _words(told.get("reason", "")), "sources": _labels(told.get("sources", ()))}
    ids, text = _ids(told), _words(told.get("text", ""))
    if op == "keep":
        return [Keep(id=id, **common) for id in ids] or [Keep(**common)]
    if op == "delete":
        return [Delete(id=id, **common) for id in ids] or Odd(f"It does not say which entry to delete: {_shown(item)}")
    if not text.strip():
        return Odd(f"It {'adds' if op == 'add' else 'changes'} no text: {_shown(item)}", str(item))
    if op == "add":
        scope = told.get("scope")
        return [Add(text=text, scope=scope if isinstance(scope, str) else None, **common)]
    if not ids:
        return Odd(f"It does not say which entry to change: {_shown(item)}", str(item))
    return [Modify(id=ids[0], text=text, **common), *(Delete(id=id, **common) for id in ids[1:])]


def _ids(told: Mapping[str, Any]) -> list[str]:
    """Ids of entries as the library writes them, those that a merger takes in last; each once."""
    said = [*_several(told.get("id")), *_several(told.get("merged"))]
    found: list[str] = []
    for value in said:
        if match := _ID.match(str(value)):
            found.append(f"G{int(match[1])}")
        else:
            found += [f"G{int(number)}" for number in _IDS_IN.findall(str(value))]
    return list(dict.fromkeys(found))


def _words(value: Any) -> str:
    if isinstance(value, dict):
        value = list(value.values())
    return "; ".join(map(_words, value)) if isinstance(value, list | tuple) else str(value)


def _labels(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for part in _several(value) for label in _LABEL.findall(_words(part))))


def _shown(item: Any) -> str:
    """An item as a sentence can show it: its text, or all that it says, without its keys."""
    if isinstance(item, dict):
        item = " ".join(_words(value) for value in item.values() if not isinstance(value, dict) and value is not None)
    return f'"{one_line(shorten(str(item), 60))}".'


def _in_words(text: str) -> Iterator[dict[str, Any]]:
    """Items of XML, and points of a list such as `- **Modify [G7]**: When ... (A0, A3)`.

    A point that names no operation counts, as an addition, only if it opens with a condition: models also list what
    they have looked at. A line that is no point counts if it names an operation and an entry, or such a text.
    """
    for _, body in _XML_ITEM.findall(text):
        yield dict(_XML_MEMBER.findall(body)) or {"text": body}
    if _XML_ITEM.search(text):
        return
    for line in unfenced(text).splitlines():
        point = _BULLET.match(line)
        said = _SAID.match((point[1] if point else line).strip())
        told = said["text"] if said else point[1] if point else ""
        if not (said and (point or said["id"])) and not _CONDITION.match(told):
            continue
        cited = _CITED.search(told)
        body = _CITED.sub("", told).strip().strip('"*_')
        item = {"text": body, "sources": cited[1].replace("and", " ") if cited else ""}
        yield {**item, "op": said["op"], "id": said["id"]} if said else item
