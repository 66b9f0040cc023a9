"""Bytes of a page to text, title and links. Hostile bytes cost bounded time and memory."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from urllib.parse import unquote, urljoin

from programs.web_tools.errors import WebError
from programs.web_tools.fetching.fetcher import Fetched
from programs.web_tools.framing import clean, clipped
from programs.web_tools.pages.html_text import Outline, calmed, main_text, outline_of
from programs.web_tools.pages.pdf_text import pdf_text

__all__ = ["Document", "Link", "absolute", "document_of", "read_document"]

_MOST_LINKS = 500
_LOCAL = "http://local.invalid/"  # stands for the folder of `local:` addresses while they are joined
_LINK_TEXT = 100  # characters
_TITLE = 200
_MAX_URL = 2048
_MOST_CHARACTERS = 1_000_000
_SEARCHED = 200_000  # characters of a plain text that are searched for links
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
_MARKDOWN_LINK = re.compile(r"(?<!!)\[([^\[\]\n]{1,200}+)\]\(([^()\s]{1,2000}+)\)")


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a page."""

    text: str
    url: str
    """Absolute, without fragment: http or https, or `local:` in a file of a folder."""


@dataclass(frozen=True, slots=True)
class Document:
    """A page as an agent reads it. All text is free of markers and of what people would not see."""

    url: str
    title: str
    text: str
    links: tuple[Link, ...] = ()
    note: str = ""
    """What is missing, if something is."""


def read_document(fetched: Fetched) -> Document:
    """The document of an answer.

    Raises:
        WebError: It holds nothing that can be read.
    """
    kind = _kind(fetched)
    if kind == "pdf":
        title, text, note = pdf_text(fetched.body)
        return document_of(fetched.url, title, text, note=note)
    text = _decoded(fetched)
    if kind == "html":
        text = calmed(text)
        outline = outline_of(text)
        base = _base(fetched.url, outline.base)
        readable = main_text(text, outline)
        if not readable.strip() and not outline.links:
            raise WebError(f"{fetched.url} shows no text without a browser's scripts; open another page")
        return document_of(fetched.url, outline.title, readable, links=_links(outline, base))
    if not text.strip():
        raise WebError(f"{fetched.url} is empty; open another page")
    links = tuple(Link(*found) for found in _MARKDOWN_LINK.findall(text[:_SEARCHED])[:_MOST_LINKS])
    return document_of(fetched.url, "", text, links=_absolute(links, fetched.url))


def document_of(url: str, title: str, text: str, *, links: tuple[Link, ...] = (), note: str = "") -> Document:
    """A document of foreign text, made safe and bounded."""
    if len(text) > _MOST_CHARACTERS:
        note = f"{note} Only the first {_MOST_CHARACTERS:,} characters are kept.".strip()
    return Document(url, clipped(title, _TITLE), clean(text[:_MOST_CHARACTERS]), links, note)


def absolute(base: str, reference: str) -> str:
    """The address that a link on a page leads to; `local:` addresses are joined like those of a site.

    Raises:
        ValueError: It is no address.
    """
    if not base.startswith("local:"):
        return urljoin(base, reference)
    joined = urljoin(_LOCAL + base.removeprefix("local:"), reference)
    return f"local:{unquote(joined.removeprefix(_LOCAL))}" if joined.startswith(_LOCAL) else joined


def _kind(fetched: Fetched) -> str:
    start = fetched.body[:1024].lstrip()
    if start.startswith(b"%PDF-"):
        return "pdf"
    if fetched.media_type == "application/pdf":
        raise WebError(f"{fetched.url} says it is a PDF and is none; open another page")
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise WebError(f"{fetched.url} holds binary data, not text; open another page")
    if fetched.media_type in ("text/html", "application/xhtml+xml"):
        return "html"
    looks_like_html = re.match(rb"(?:<\?xml[^>]{0,200}>\s*)?<(?:!doctype html|html)\b", start, re.IGNORECASE)
    return "html" if looks_like_html and fetched.media_type != "text/plain" else "text"


def _decoded(fetched: Fetched) -> str:
    """The text; what does not fit its encoding becomes a replacement character."""
    declared = _CHARSET.search(fetched.body[:2048])
    names = [fetched.charset, declared[1].decode("ascii") if declared else None, "utf-8"]
    if fetched.body.startswith((b"\xff\xfe", b"\xfe\xff")):
        names.insert(0, "utf-16")
    for name in filter(None, names):
        try:
            if codecs.lookup(name).name not in _NO_CHARSETS:
                return fetched.body.decode(name, "replace")
        except (LookupError, ValueError):
            continue
    return fetched.body.decode("utf-8", "replace")


def _links(outline: Outline, base: str) -> tuple[Link, ...]:
    return _absolute(tuple(Link(text, href) for text, href in outline.links), base)


def _base(url: str, stated: str) -> str:
    try:
        return absolute(url, stated) if stated else url
    except ValueError:
        return url


def _absolute(links: tuple[Link, ...], base: str) -> tuple[Link, ...]:
    """Links that can be followed, each once."""
    schemes = ("http://", "https://", "local:") if base.startswith("local:") else ("http://", "https://")
    found: dict[str, Link] = {}
    for link in links:
        try:
            url = absolute(base, link.url.strip()).partition("#")[0]
        except ValueError:
            continue
        followable = url.startswith(schemes) and len(url) <= _MAX_URL and url.isprintable()
        if followable and url not in found and url != base:
            found[url] = Link(
                clipped(link.text, _LINK_TEXT) or "(no text)",
                url if url.startswith("local:") else url.replace(" ", "%20"),
            )
    return tuple(found.values())[:_MOST_LINKS]
