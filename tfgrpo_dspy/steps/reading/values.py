"""What a model wrote for one field, read as the field's type; what cannot be is `Odd`, and says why in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from tfgrpo_dspy.library.word_index import stem
from tfgrpo_dspy.steps.reading.fields import split_reply
from tfgrpo_dspy.steps.reading.odd import BROKE_OFF, REPEATS, Items, Odd
from tfgrpo_dspy.steps.reading.soundness import is_babble
from tfgrpo_dspy.steps.reading.texts import read_text, says_nothing
from tfgrpo_dspy.text import shorten

_TYPE_SHOWN = re.compile(r"\A(?:Literal|str|Optional)\[(.*)\]\Z", re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(.*)$")
_TICKED = re.compile(r"^\W*\[[xX✓✔]\][ \t]*(.+)$", re.MULTILINE)
_NEGATION = re.compile(
    r"(?:\bnot|\bno|\bnever|n't|\bneither|\bnor|\bwithout|\brather than|\binstead of)(?:\W+\w+)?\W*\Z"
)
_SHOWN_TOKENS = 60


def read_reply(reply: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Each wanted field of a reply as a value of its type, or `Odd`. Total: no reply raises."""
    parts = split_reply(reply, fields)
    missing = BROKE_OFF if not parts.is_whole else ""
    found: dict[str, Any] = {}
    for name, annotation in fields.items():
        if name in parts.values:
            found[name] = read_value(parts.values[name], annotation)
        else:
            found[name] = Odd(missing or f"The reply says nothing under {name.replace('_', ' ')}.")
        if not parts.is_whole and isinstance(found[name], Items):
            found[name] = found[name]._replace(is_whole=False)
    return found


def read_value(raw: Any, annotation: Any) -> Any:
    """A value of the annotated type, or `Odd`."""
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if isinstance(raw, str) and is_babble(raw):
        return Odd(REPEATS, raw)
    if kind is str:
        return read_text(raw)
    if get_origin(kind) is Literal:
        return read_choice(raw, get_args(kind))
    if kind is int:
        numbers = re.findall(r"(?<![\w.])-?\d+(?!\.?\d)", str(raw).replace(",", "").removesuffix(".0"))
        return int(numbers[0]) if len(set(numbers)) == 1 else _odd(raw, "is not one whole number")
    if get_origin(kind) is not list:
        return _read_other(raw, kind)
    item = get_args(kind)[0]
    if getattr(item, "__name__", "") != "Operation":
        return _read_list(raw, item)
    from tfgrpo_dspy.steps.reading.operations import read_operations

    items = read_operations(raw)
    return items.odd[0] if items.odd and not items.operations else items


def read_choice(raw: Any, options: Sequence[Any]) -> Any:
    """The option that was meant: in any case, in brackets or quotes, at the head of a sentence or alone in one."""
    if isinstance(raw, list | tuple | dict):
        raw = read_text(raw)
    shown = "" if raw is None else str(raw)
    by_key = {_key(str(option)): option for option in options}
    text = _TYPE_SHOWN.sub(r"\1", shown.strip())
    text = "\n".join(_TICKED.findall(text)) or text
    key, lines = _key(text), [_key(line) for line in text.splitlines()]
    alone = {line for line in lines if line in by_key}
    for told in (key, *(lines[:1] if len(alone) == 1 else ()), _key(text.rpartition(":")[2])):
        if told in by_key:
            return by_key[told]
    if says_nothing(text) and _key("none") in by_key:
        return by_key[_key("none")]
    named = _numbered(text, by_key) or _begun_with(key, by_key) or _named_in(key, by_key)
    if len(named) == 1:
        return by_key[named[0]]
    listed = ", ".join(map(str, options))
    said = f'"{shorten(shown.strip(), _SHOWN_TOKENS)}"' if shown.strip() else "Nothing"
    return Odd(f"{said} is {'not one' if not named else 'more than one'} of these: {listed}.", shown)


def _numbered(text: str, by_key: Mapping[str, Any]) -> list[str]:
    """Of options such as `G7`, the one whose number alone was written."""
    number = re.fullmatch(r"(?:id|entry|experience|no\.?|number|#)?[\s:=#]*\[?(\d+)(?:\.0)?\]?\.?", text, re.IGNORECASE)
    if number is None:
        return []
    return [key for key in by_key if re.fullmatch(rf"[a-z]?{number[1]}", key)]


def _begun_with(key: str, by_key: Mapping[str, Any]) -> list[str]:
    """The option that a reply opens with, unless it goes on with another one: `new or sharpens`."""
    begun = max((option for option in by_key if re.match(rf"{re.escape(option)}(?!\w)", key)), key=len, default=None)
    if begun is None:
        return []
    others = "|".join(re.escape(option) for option in by_key if option != begun)
    goes_on = re.match(rf"\W*(?:(?:or|and|but)\b)?\W*(?:{others})(?!\w)", key[len(begun) :]) if others else None
    return [] if goes_on else [begun]


def _named_in(key: str, by_key: Mapping[str, Any]) -> list[str]:
    """Options that a sentence names, those that are denied and those within a longer one left out."""
    found: list[str] = []
    for option in sorted(by_key, key=len, reverse=True):
        match = re.search(rf"(?<!\w){re.escape(option)}(?!\w)", key)
        if match and not _NEGATION.search(key[: match.start()]):
            found.append(option)
            key = key[: match.start()] + " " + key[match.end() :]
    return found


def _key(text: str) -> str:
    """A choice without what models vary in it."""
    folded = re.sub(r"[\s_]+", " ", re.sub(r"\\(?:boxed|text\w*|math\w*)\b", " ", text.casefold())).strip()
    spaced = re.sub(r"(?<!\w)-|-(?!\w)", " ", folded).replace("-", " ").strip(" .!?:;,\"'`*()[]{}<>$")
    return re.sub(r"[a-z]+", lambda word: stem(word[0]), spaced)


def _read_list(raw: Any, item: Any) -> list[Any] | Odd:
    """A list of texts or other values: JSON, or a point or a line for each."""
    from tfgrpo_dspy.steps.reading.json_text import parse_json, unfenced

    if isinstance(raw, str):
        parsed = parse_json(raw)
        if not parsed.is_whole:
            return Odd(BROKE_OFF, raw)
        lines = unfenced(raw).splitlines()
        points = [found[1] for line in lines if (found := _BULLET.match(line))]
        raw = parsed.value if isinstance(parsed.value, list) else points or [line for line in lines if line.strip()]
    items = list(raw) if isinstance(raw, list | tuple) else [] if raw is None else [raw]
    read = [read_value(each, item) for each in items if not (isinstance(each, str) and says_nothing(each))]
    return next((value for value in read if isinstance(value, Odd)), None) or read


def _read_other(raw: Any, kind: Any) -> Any:
    from tfgrpo_dspy.steps.reading.json_text import parse_json

    adapter = TypeAdapter(kind)
    parsed = parse_json(raw).value if isinstance(raw, str) else None
    for value in (raw, parsed, read_text(raw)):
        with suppress(ValidationError):
            return adapter.validate_python(value)
    return _odd(raw, "does not fit what was asked")


def _odd(raw: Any, why: str) -> Odd:
    return Odd(f'"{shorten(str(raw), _SHOWN_TOKENS)}" {why}.', str(raw))
