"""Values as text for another prompt: what is no text is named, never cut out of the middle of its encoding.

`str()` of DSPy's images, audio and files is their wire form, base64 included, which a prompt's adapter would turn into
content again. Here each becomes a name such as `<image 1: 640x480 png>`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import dspy
import pydantic

from tfgrpo_dspy.lm.undocumented import CONTENT_BEGINS, CONTENT_ENDS
from tfgrpo_dspy.text import whole

_WIRE = re.compile(f"{re.escape(CONTENT_BEGINS)}(.*?)(?:{re.escape(CONTENT_ENDS)}|\\Z)", re.DOTALL)
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/_=-]*)")
"""An address that is what it addresses."""
_HEAD = 64 * 1024
"""Characters of base64 in which an image says how large it is; a JPEG's size may stand behind its thumbnail."""
_KILO = 1_024
_NAMED = 80
"""Characters of an address or a file's name at most."""
_KINDS = frozenset({"image", "audio", "video"})
_PNG = b"\x89PNG\r\n\x1a\n"
_MARKER = 0xFF
"""With which segments of a JPEG begin."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Its frame headers."""
_PLAIN = frozenset({list, tuple, set, frozenset})
_DEEPEST = 8
"""Containers within containers that are looked through."""
_HEADS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "JVBERi0", "SUQz", "T2dnUw")
"""How the base64 of images, sounds and PDFs begins."""
_BARE = re.compile(f"(?<![A-Za-z0-9+/])(?:{'|'.join(_HEADS)})[A-Za-z0-9+/]{{64,}}={{0,2}}")


class Thing(NamedTuple):
    """Something that is no text."""

    kind: str
    """`image`, `audio`, `file`, or what its type calls itself."""
    content: str
    """What tells it from another: its data, or where it is."""
    looks: str
    """What is said of it: size and format; empty if nothing is known."""


class Things:
    """Names what is no text in an example and its rollouts: by kind, numbered by first sight, the same one alike."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self._numbers: dict[tuple[str, bytes], int] = {}
        for value in values:
            as_text(value, self)

    def name(self, thing: Thing) -> str:
        """`<image 1: 640x480 png>`."""
        key = thing.kind, blake2b(thing.content.encode(errors="replace"), digest_size=16).digest()
        known = sum(kind == thing.kind for kind, _ in self._numbers)
        number = self._numbers.setdefault(key, known + 1)
        return f"<{thing.kind} {number}{f': {thing.looks}' if thing.looks else ''}>"


def whole_values(value: Any) -> Any:
    """A value with `whole` texts in it; the very same where they are."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        made = {key: whole_values(each) for key, each in value.items()}
        return value if all(made[key] is each for key, each in value.items()) else made
    if type(value) in {list, tuple}:
        parts = [whole_values(each) for each in value]
        return value if all(one is other for one, other in zip(parts, value, strict=True)) else type(value)(parts)
    return value


SEEN = {"image": dspy.Image, "audio": dspy.Audio, "file": dspy.File}
"""What an LM may be able to see, by name."""


def seen_in(values: Iterable[Any], kinds: Iterable[str]) -> dict[str, dspy.Type]:
    """What an LM sees of an example: the things of some kinds, each once, by their names as fields (`image_1`)."""
    things, types, found = Things(), tuple(SEEN[kind] for kind in kinds), dict[str, dspy.Type]()
    for value in values:
        for one in _parts_of(value):
            name = as_text(one, things)
            if isinstance(one, types):
                found.setdefault(name.strip("<>").partition(":")[0].replace(" ", "_"), one)
    return found


def _parts_of(value: Any, depth: int = 0) -> Iterator[Any]:
    """A value, or what its containers hold, in the order in which `as_text` shows it."""
    if (
        isinstance(value, dspy.Type)
        or depth > _DEEPEST
        or not isinstance(value, dict | list | tuple | pydantic.BaseModel)
    ):
        yield value
        return
    held = (one for _, one in value) if isinstance(value, pydantic.BaseModel) else value
    for one in value.values() if isinstance(value, dict) else held:
        yield from _parts_of(one, depth + 1)


def as_text(value: Any, things: Things) -> str:
    """A value as text, without the data of what is none."""
    if isinstance(value, str):
        return _without_data(value, things)
    if (name := _named(value, things)) is not None:
        return name
    return _without_data(str(_with_names(value, things)), things)


def texts_of(values: Iterable[Any]) -> list[str]:
    """Several values as texts, in which the same thing has the same name."""
    things = Things()
    return [as_text(value, things) for value in values]


class _Name:
    """Stands in a container for what is no text, and shows itself as its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _named(value: Any, things: Things) -> str | None:
    """The text for a value of a type that is more, or other, than text; None for any other."""
    if isinstance(value, dspy.History):
        return "\n".join(
            ", ".join(f"{name}: {as_text(said, things)}" for name, said in message.items())
            for message in value.messages
        )
    if isinstance(value, dspy.Type):
        return _formatted(value, things)
    if isinstance(value, bytes | bytearray | memoryview):
        return things.name(Thing("bytes", repr(bytes(value)), _weight(len(value))))
    if type(value).__module__.partition(".")[0] == "PIL" and hasattr(value, "size"):
        looks = f"{value.size[0]}x{value.size[1]} {(getattr(value, 'format', None) or value.mode).lower()}"
        return things.name(Thing("image", repr(value.tobytes()), looks))
    return None


def _formatted(value: dspy.Type, things: Things) -> str:
    """A custom type by the parts it would be sent as."""
    if isinstance(value, dspy.ToolCalls):
        calls = (f"{call.name}({json.dumps(call.args, default=str)})" for call in value.tool_calls)
        return _without_data("; ".join(calls), things)
    if isinstance(value, dspy.Code | dspy.Reasoning | dspy.Tool):
        return _without_data(value.code if isinstance(value, dspy.Code) else str(value), things)
    try:
        parts = value.format()
    except NotImplementedError:
        parts = repr(value)
    if isinstance(parts, str):
        return _without_data(parts, things)
    return " ".join(_of_part(part, type(value).__name__.lower(), things) for part in parts)


def _of_part(part: Any, kind: str, things: Things) -> str:
    """A content part of a message."""
    if not isinstance(part, Mapping):
        return as_text(part, things)
    held = part.get(str(part.get("type")), part)
    match part.get("type"):
        case "text":
            return _without_data(str(part.get("text", "")), things)
        case "image_url" | "input_image":
            url = held.get("url") if isinstance(held, Mapping) else held
            return things.name(_thing_at(str(url), "image"))
        case "input_audio" if isinstance(held, Mapping):
            data, form = str(held.get("data", "")), str(held.get("format", ""))
            return things.name(Thing("audio", data, f"{_weight(_size(data))} {form}".strip()))
        case "file" | "input_file" if isinstance(held, Mapping):
            return things.name(_file(held))
        case "document" if isinstance(source := part.get("source"), Mapping):
            return _document(source, str(part.get("title") or ""), things)
    return things.name(Thing(kind, json.dumps(part, default=str), str(part.get("type", ""))))


def _document(source: Mapping[str, Any], title: str, things: Things) -> str:
    data = str(source.get("data", ""))
    if source.get("type") == "text":
        return _without_data(f"{title}: {data}" if title else data, things)
    return things.name(_file({"filename": title, "file_data": f"data:{source.get('media_type')};base64,{data}"}))


def _with_names(value: Any, things: Things, depth: int = 0) -> Any:
    """A container with names in place of what is no text; the very same where it holds none."""
    if depth and (name := _named(value, things)) is not None:
        return _Name(name)
    if depth > _DEEPEST or not isinstance(value, dict | list | tuple | set | frozenset | pydantic.BaseModel):
        return value
    if isinstance(value, pydantic.BaseModel):
        fields = {name: _with_names(each, things, depth + 1) for name, each in value}
        is_same = all(fields[name] is each for name, each in value)
        shown = ", ".join(f"{name}={each!r}" for name, each in fields.items())
        return value if is_same else _Name(f"{type(value).__name__}({shown})")
    if isinstance(value, dict):
        named = {key: _with_names(each, things, depth + 1) for key, each in value.items()}
        return value if all(named[key] is each for key, each in value.items()) else named
    parts = [_with_names(each, things, depth + 1) for each in value]
    if all(one is other for one, other in zip(parts, value, strict=True)):
        return value
    return (type(value) if type(value) in _PLAIN else list)(parts)


def _without_data(text: str, things: Things) -> str:
    """A whole text with names in place of content parts in DSPy's markers, and of data in base64."""
    text = whole(text)
    if CONTENT_BEGINS in text:
        text = _WIRE.sub(lambda found: _of_wire(found[1], things), text)
    if ";base64," in text:
        text = _DATA.sub(lambda found: things.name(_thing_at(found[0], "file")), text)
    if not any(head in text for head in _HEADS):
        return text
    return _BARE.sub(lambda found: things.name(Thing("data", found[0], _weight(_size(found[0])))), text)


def _of_wire(payload: str, things: Things) -> str:
    try:
        parts = json.loads(payload)
    except ValueError:
        return things.name(Thing("part", payload, "cut off"))
    return " ".join(_of_part(part, "part", things) for part in (parts if isinstance(parts, list) else [parts]))


def _file(held: Mapping[str, Any]) -> Thing:
    """A file as a message holds it."""
    data = str(held.get("file_data") or "")
    name = str(held.get("filename") or held.get("file_id") or "")[:_NAMED]
    about = _thing_at(data, "file").looks if data else ""
    return Thing("file", data or name, ", ".join(each for each in (name, about) if each))


def _thing_at(url: str, kind: str) -> Thing:
    """What a `data:` address holds, or what stands at an address, of which no query is shown."""
    found = _DATA.match(url)
    if found is None:
        place = urlsplit(url)
        return Thing(kind, url, f"{place.scheme}://{place.hostname or ''}{place.path}"[:_NAMED] if place.scheme else "")
    mime, data = found[1] or "", found[2]
    named, _, form = mime.partition("/")
    kind = named if named in _KINDS else kind
    size = _dimensions(data) if kind == "image" else None
    looks = f"{size[0]}x{size[1]}" if size else _weight(_size(data))
    return Thing(kind, data, f"{looks} {form}".strip())


def _size(data: str) -> int:
    """Bytes that a text in base64 stands for."""
    return len(data.rstrip("=")) * 3 // 4


def _weight(size: int) -> str:
    """`30 kB`."""
    if size < _KILO:
        return f"{size} bytes"
    return f"{size / _KILO:.0f} kB" if size < _KILO**2 else f"{size / _KILO**2:.1f} MB"


def _dimensions(data: str) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, extended WebP or JPEG in base64, by its head; None if it does not say."""
    try:
        head = base64.b64decode(data[: _HEAD - _HEAD % 4] + "===", validate=False)
    except (binascii.Error, ValueError):
        return None
    if head.startswith(_PNG):
        return _pair(head[16:24], 4, "big")
    if head.startswith(b"GIF8"):
        return _pair(head[6:10], 2, "little")
    if head[12:16] == b"VP8X":
        width, height = _pair(head[24:30], 3, "little")
        return width + 1, height + 1
    return _of_jpeg(head) if head.startswith(b"\xff\xd8") else None


def _pair(data: bytes, size: int, order: Literal["big", "little"]) -> tuple[int, int]:
    return int.from_bytes(data[:size], order), int.from_bytes(data[size : 2 * size], order)


def _of_jpeg(head: bytes) -> tuple[int, int] | None:
    """From the first frame header among the segments."""
    at = 2
    while at + 9 < len(head) and head[at] == _MARKER:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            height, width = _pair(head[at + 5 : at + 9], 2, "big")
            return width, height
        at += 2 + length
    return None
