"""What is no text, said in a few words: its kind, its size, its format, read from its first bytes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/_=-]*)")
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


class Thing(NamedTuple):
    """Something that is no text."""

    kind: str
    """`image`, `audio`, `file`, or what its type calls itself."""
    content: str
    """What tells it from another: its data, or where it is."""
    looks: str
    """What is said of it: size and format; empty if nothing is known."""


def file_of(held: Mapping[str, Any]) -> Thing:
    """A file as a message holds it."""
    data = str(held.get("file_data") or "")
    name = str(held.get("filename") or held.get("file_id") or "")[:_NAMED]
    about = thing_at(data, "file").looks if data else ""
    return Thing("file", data or name, ", ".join(each for each in (name, about) if each))


def thing_at(url: str, kind: str) -> Thing:
    """What a `data:` address holds, or what stands at an address, of which no query is shown."""
    found = DATA.match(url)
    if found is None:
        place = urlsplit(url)
        return Thing(kind, url, f"{place.scheme}://{place.hostname or ''}{place.path}"[:_NAMED] if place.scheme else "")
    mime, data = found[1] or "", found[2]
    named, _, form = mime.partition("/")
    kind = named if named in _KINDS else kind
    size = dimensions(data) if kind == "image" else None
    looks = f"{size[0]}x{size[1]}" if size else weight(size_of(data))
    return Thing(kind, data, f"{looks} {form}".strip())


def size_of(data: str) -> int:
    """Bytes that a text in base64 stands for."""
    return len(data.rstrip("=")) * 3 // 4


def weight(size: int) -> str:
    """`30 kB`."""
    if size < _KILO:
        return f"{size} bytes"
    return f"{size / _KILO:.0f} kB" if size < _KILO**2 else f"{size / _KILO**2:.1f} MB"


def dimensions(data: str) -> tuple[int, int] | None:
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
