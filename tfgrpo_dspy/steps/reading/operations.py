"""The operations that a model wrote, item by item: good ones survive whatever stands beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from pydantic import ValidationError

from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.steps.reading.fields import key_of
from tfgrpo_dspy.steps.reading.json_text import parse_calls, parse_json, unfenced
from tfgrpo_dspy.steps.reading.odd import Items, Odd
from tfgrpo_dspy.steps.reading.texts import read_lesson, says_nothing
from tfgrpo_dspy.text import one_line, shorten

_OPS = {
    "keep": "keep kept none noop retain skip ignor leav nothing unchanged behalt beibehalt gard mant 保留 维持",
    "add": "add append insert creat new includ addition hinzufüg ergänz ajout añad agreg 添加 新增 追加",
    "modify": "modif updat edit revis refin chang replac rewrit sharpen correct generaliz generalis improv merg combin "
    "modification änder verbesser 修改 更新 変更",
    "delete": "delet remov drop discard lösch entfern supprim elimin 删除 削除",
}
"""The beginnings of words for each operation, as models vary them and other languages have them."""
_OP = re.compile(
    "(?<![^\\W_])(?:"
    + "|".join(f"(?P<{op}>{'|'.join(sorted(roots.split(), key=len, reverse=True))})" for op, roots in _OPS.items())
    + r")(?:e|y|n|en|er|ir|ar|e?s|e?d|ies|ied|y?ing|ions?)?(?![^\W_])",
    re.IGNORECASE,
)
_NO_OP = re.compile(r"\W*no[\W_]*(?:op|operation|change|update|modification)?s?\W*\Z", re.IGNORECASE)
_MOST_WORDS = 3
"""Words of which one may name an operation: `delete_experience`, `to add`; more of them are a title or a text."""
_KEYS = {
    "op": "op operation function action type kind operationtype actiontype decision name",
    "text": "text content experience advice newtext newcontent newexperience updatedtext lesson insight value to after "
    "replacement",
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
_HEADING = re.compile(r"^\s*(?:#+|\*\*)\s*([^:\n]+?)\s*[:*#]*\s*$")
_OF_ENTRY = re.compile(r"(?:[*_`]*\[?(?P<id>G\d+)\]?[*_`]*[:\s]*)?(?P<text>.*)", re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*•+]|\d+[.)])\s+(.*)$")
_SAID = re.compile(
    rf"\A[^\w\n]*(?P<op>{_OP.pattern})(?P<mark>[*_`\]]*)(?:\s+(?:entry|experience|candidate|lesson))?"
    r"(?:\s*[(\[*_`]*(?P<id>G\d+)[)\]*_`]*)?(?:\s+(?:to|as|with))?\s*(?:[:\uff1a=>\u2192\u2013\u2014-]+|\Z|(?=[\"“])|(?=because\b)|(?<=\]))"
    r"\s*(?P<text>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_PAIR = re.compile(
    r"^(?:\W|\d+[.)])*?(?P<key>[^\W\d]\w*(?: (?:id|text))?)[*_`\"']*[ \t]*[:\uff1a][*_`]*[ \t]*(?P<value>.*)$"
)
_CITED = re.compile(
    r"\s*(?:[(\[](?:sources?:?\s*)?|\bsources?:\s*)((?:A\d+(?:\.\d+)?[,;\s]*(?:and\s+)?)+)[)\]]?\s*\.?\s*\Z",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"\A[*_`\"]*(?:when|whenever|if|before|after|once|while|unless)\b", re.IGNORECASE)
_NO_CHANGE = re.compile(
    r"\W*(?:none\b|nothing\b|n/a|no\W+(?:\w+\W+)?(?:operation|change|update|modification)s?\b|\Z)", re.IGNORECASE
)
_DEEPEST = 8
"""Objects within one another that are looked into."""
_MERGES = re.compile(r"\W*(?:merge|combine)", re.IGNORECASE)
_BARE = re.compile(r"&(?!\w+;|#)|<(?!/?[A-Za-z])")
_LABELS = re.compile(r"\b([A-Z]\d+)(?:\.\d+)?\b")


def read_operations(raw: Any) -> Items:
    """Every item that can be taken for an operation, and the others as `Odd`. Total, and nothing is made up.

    Read are JSON lists, single objects, objects of lists by operation or of entries by id, tool calls in JSON, XML and
    Python, XML items, `key: value` lines, and points in Markdown; natural spellings of operations and keys are mapped,
    unknown keys, nulls and blanks dropped. A merger of several entries becomes a `modify` of the first and a `delete`
    of each other.
    """
    found, is_whole = _parts(raw) if isinstance(raw, str) else (raw, True)
    operations: list[Operation] = []
    odd: list[Odd] = []
    for item in _items(found, _DEEPEST):
        made = _read_item(item)
        if isinstance(made, Odd):
            odd.append(made)
        else:
            operations += made
    if found == [] and str(raw).strip() and not _NO_CHANGE.match(str(raw)):
        odd.append(Odd(f"It holds no operation: {_shown(raw)}", str(raw)))
    return Items(tuple(dict.fromkeys(operations)), tuple(odd), is_whole)


def _parts(text: str) -> tuple[Any, bool]:
    """What a text holds that may be items, in the first form that it has any in, and whether it is there to its end."""
    if calls := parse_calls(text):
        return calls, True
    if elements := list(_in_xml(text)):
        return elements, text.rstrip().endswith((">", "`"))
    parsed = parse_json(text)
    if parsed.value is not None or not parsed.is_whole:
        return parsed.value, parsed.is_whole
    return list(_in_pairs(text)) or list(_in_points(text)), True


def _items(raw: Any, depth: int) -> Iterator[Any]:
    """The single items, whatever they are nested in."""
    raw = _parsed(raw)
    if isinstance(raw, list | tuple) and depth:
        for item in raw:
            yield from _items(item, depth - 1)
    elif isinstance(raw, dict) and depth and raw:
        yield from _items_of_object(raw, depth)
    elif raw not in (None, "", [], {}):
        yield raw


def _items_of_object(raw: Mapping[str, Any], depth: int) -> Iterator[Any]:
    """Those of an object that holds lists of them, is one by operation or by id, or is an item itself."""
    members = {key: _parsed(value) for key, value in raw.items()}
    holding = [key for key in members if _holds_items({key: members[key]}, depth)]
    by_op = [key for key in members if _op_named(key) and key_of(key) not in _KEY_OF.keys() | _NESTING]
    if holding or len(by_op) > 1:
        for key, value in members.items():
            yield from _with_op(key, value) if key in by_op else _items(value, depth - 1) if key in holding else ()
    elif by_op:
        others = {key: value for key, value in members.items() if key not in by_op}
        yield from ({**others, **item} for item in _with_op(by_op[0], members[by_op[0]]))
    else:
        yield from _items_of_members(members, depth)


def _items_of_members(members: Mapping[str, Any], depth: int) -> Iterator[Any]:
    """Those of an object without any list: entries by their ids, items by some other name, or an item itself."""
    only = next(iter(members))
    if all(_ID.match(str(key)) for key in members):
        yield from ({"id": key, **_as_item(value)} for key, value in members.items())
    elif len(members) == 1 and key_of(only) in _NESTING:
        yield from _items(members[only], depth - 1)
    elif all(isinstance(value, dict) for value in members.values()) and not any(map(_key_named, members)):
        for value in members.values():
            yield from _items(value, depth - 1)
    elif any(value not in (None, "", [], {}) for value in members.values()):
        yield members


def _holds_items(value: Any, depth: int) -> bool:
    """Whether a list of objects is somewhere in it, other than of labels."""
    value = _parsed(value)
    if isinstance(value, dict) and depth:
        members = [said for key, said in value.items() if _key_named(key) in (None, "op", "text")]
        return any(_holds_items(said, depth - 1) for said in members)
    return isinstance(value, list) and any(isinstance(_parsed(item), dict) for item in value)


def _with_op(key: str, value: Any) -> list[dict[str, Any]]:
    """The items that stand under an operation's name: one or several, or texts by the ids of their entries."""
    if isinstance(value, dict) and value and all(_ID.match(str(id)) for id in value):
        value = [{"id": id, **_as_item(said)} for id, said in value.items()]
    return [{"op": key, **_as_item(item)} for item in _several(value)]


def _key_named(key: object) -> str | None:
    return _KEY_OF.get(key_of(key))


def _parsed(value: Any) -> Any:
    """What JSON in a text says; anything else as it is."""
    is_json = isinstance(value, str) and value.strip()[:1] in ("{", "[") and value.strip()[-1:] in ("}", "]")
    parsed = parse_json(value).value if is_json else None
    return value if parsed is None else parsed


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _as_item(value: Any) -> dict[str, Any]:
    """What stands beside an operation's name or an id: the rest of the item, an id, an operation or a text."""
    if isinstance(value, dict):
        return value
    text = str(value)
    if _ID.match(text):
        return {"id": text}
    return {"op": text} if _op_named(text) else {"text": text}


def _read_item(item: Any) -> list[Operation] | Odd:
    if isinstance(item, Add | Modify | Delete | Keep):
        return [item]
    if not isinstance(item, dict):
        said = list(_in_points(f"- {item}"))
        item = said[0] if said else {"": item}
    told = _told(_flat(item, _DEEPEST))
    op = _operation_of(told)
    if op is None:
        return Odd(f"It does not say what to do with: {_shown(item)}", str(item))
    try:
        return _made(op, told, item)
    except ValidationError:
        return Odd(f"It cannot be carried out: {_shown(item)}", str(item))


def _flat(item: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
    """An item's members, then those of objects in it, such as a tool call's arguments."""
    nested = []
    for key, value in item.items():
        said = _parsed(value)
        if isinstance(said, dict) and _key_named(key) != "sources":
            nested.append(said)
        else:
            yield str(key), said
    for each in nested if depth else ():
        yield from _flat(each, depth - 1)


def _told(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Members by our names; of two with one meaning the first that says something.

    Of those that may name the operation (`type` and `name` may also be a title), or the entry (a tool call has an id
    too), the first that does.
    """
    told: dict[str, Any] = {}
    does: dict[str, Callable[[Any], Any]] = {"op": _op_named, "id": lambda value: _ids({"id": value})}
    for key, value in members:
        name = _key_named(key)
        is_said = value not in (None, "", [], {}) and str(value).strip().casefold() not in ("null", "none", "n/a")
        if name in does and value is not None:
            if (is_said or name == "op") and (name not in told or (does[name](value) and not does[name](told[name]))):
                told[name] = value
        elif name is not None and is_said:
            told.setdefault(name, value)
    return told


def _op_named(value: Any) -> str | None:
    """The operation that a word stands for, or one of a few words."""
    said = str(value)
    if _NO_OP.match(said):
        return "keep"
    found = _OP.search(said) if len(re.findall(r"[^\W_]+", said)) <= _MOST_WORDS else _OP.match(said.lstrip("*_`[ "))
    return found.lastgroup if found else None


def _operation_of(told: Mapping[str, Any]) -> str | None:
    if (op := _op_named(told.get("op", ""))) is not None:
        is_merger_of_candidates = op == "modify" and _MERGES.match(str(told["op"])) and not _ids(told)
        return "add" if is_merger_of_candidates else op
    if "op" in told or "text" not in told:
        return None
    return "modify" if "id" in told else "add"


def _made(op: str, told: Mapping[str, Any], item: Any) -> list[Operation] | Odd:
    common: dict[str, Any] = {"reason": _words(told.get("reason", "")), "sources": _labels(told.get("sources", ()))}
    ids, text = _ids(told), read_lesson(_words(told.get("text", "")))
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
    told = [part for each in _several(value) for part in (each if isinstance(each, dict) else [])]
    words = [*map(_words, _several(value)), *map(str, told)]
    found = [label for word in words for label in _LABELS.findall(word)]
    return tuple(dict.fromkeys(found or [label for word in words for label in _LABEL.findall(word)]))


def _shown(item: Any) -> str:
    """An item as a sentence can show it: its text, or all that it says, without its keys."""
    if isinstance(item, dict):
        item = " ".join(_words(value) for value in item.values() if not isinstance(value, dict) and value is not None)
    return f'"{one_line(shorten(str(item), 60))}".'


def _in_xml(text: str) -> Iterator[dict[str, Any]]:
    """Elements called `item`, `operation` or as an operation, with their attributes and members; as far as it goes."""
    if "<" not in text:
        return
    depth = 0
    parser: Any = ElementTree.XMLPullParser(("start", "end"))
    with suppress(ElementTree.ParseError):
        parser.feed(f"<all>{_BARE.sub(lambda mark: escape(mark[0]), text)}</all>")
        for event, element in parser.read_events():
            if element.tag.lower() in ("item", "operation") or (element.tag != "op" and _op_named(element.tag)):
                depth += 1 if event == "start" else -1
                if event == "end" and not depth:
                    said = {"op": element.tag} if _op_named(element.tag) else {}
                    yield {**said, **_as_item(_plain(element))}


def _plain(element: ElementTree.Element) -> Any:
    members: dict[str, Any] = dict(element.attrib)
    for child in element:
        said = _plain(child)
        members[child.tag] = [*_several(members[child.tag]), said] if child.tag in members else said
    text = "".join(element.itertext()).strip()
    return members | ({"text": text} if text and not len(element) else {}) if members else text


def _in_pairs(text: str) -> Iterator[dict[str, Any]]:
    """Items of lines such as `- op: add`, `  text: ...`; a new one begins where a key comes again."""
    pairs = [(str(_key_named(p["key"])), p["value"].strip()) for p in map(_PAIR.match, text.splitlines()) if p]
    if not any(key == "op" and _op_named(value) for key, value in pairs):
        return
    item: dict[str, Any] = {}
    for key, value in pairs:
        if key in item:
            yield item
            item = {}
        item |= {key: value} if key in _KEYS else {}
    yield item


def _in_points(text: str) -> Iterator[dict[str, Any]]:
    """Points of a list such as `- **Modify [G7]**: When ... (A0, A3)`, also below a heading that names the operation.

    A point that names no operation counts, as an addition, only if it opens with a condition: models also list what
    they have looked at. A line that is no point counts if it names an operation and an entry, or such a text.
    """
    below = None
    for line in unfenced(text).splitlines():
        point, heading = _BULLET.match(line), _HEADING.match(line)
        if heading:
            below = _op_named(heading[1])
            continue
        said = _SAID.match((point[1] if point else line).strip())
        told = said["text"] if said else point[1] if point else ""
        named = _OF_ENTRY.match(told) if below and point and not said and not says_nothing(told) else None
        is_said = said is not None and (point is not None or said["id"] is not None)
        if not is_said and named is None and not _CONDITION.match(told):
            continue
        cited = _CITED.search(told)
        body = _CITED.sub("", named["text"] if named else told).strip().strip('"*_')
        item = {"text": body, "sources": cited[1].replace("and", " ") if cited else ""}
        found = said or named
        yield {**item, "op": said["op"] if said else below, "id": found["id"]} if found else item
