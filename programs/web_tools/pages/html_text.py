"""HTML to readable text: trafilatura's reading of it, or all of its text where that finds little."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from programs.web_tools.errors import optional

__all__ = ["Outline", "calmed", "main_text", "outline_of"]

_MOST_ELEMENTS = 40_000  # beyond, only plain text: trafilatura's rules are paid for per element
_MOST_CHARACTERS = 1_500_000  # likewise
_LONGEST_TAG = 2_000  # characters besides quoted values; parsers take a time quadratic in a tag's attributes
_VALUE = re.compile(r"""=\s*+(?:"[^"]*+"|'[^']*+')""")
_TAG = re.compile(rf"""<[a-zA-Z](?:{_VALUE.pattern}|[^>])*+>?""")
_MOST_LINKS = 2_000
_LITTLE = 0.3  # part of the page's text below which trafilatura is thought to have missed the page
_PIECES = 50  # of a link's text
_UNSHOWN = ("script", "style", "noscript", "template", "svg")
_INLINE = frozenset(
    "a abbr b bdi bdo cite code em font i kbd mark q s samp small span strong sub sup time u var".split()
)


@dataclass(frozen=True, slots=True)
class Outline:
    """What is taken from a page's elements."""

    title: str = ""
    base: str = ""
    """The address that links are relative to, as the page states it."""
    text: str = ""
    """All text that could be shown, a line per block."""
    links: tuple[tuple[str, str], ...] = ()
    """Text and address of each link, as they stand there."""
    elements: int = 0


def outline_of(html: str) -> Outline:
    """The outline of a page, however broken.

    Args:
        html: Of a page that `calmed` has seen.

    Raises:
        MissingExtraError: lxml is not installed.
    """
    etree, document = optional("lxml.etree", "reading pages"), optional("lxml.html", "reading pages")
    parser = document.HTMLParser(
        recover=True, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True, encoding="utf-8"
    )
    try:
        tree = etree.fromstring(html.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        tree = None
    if tree is None:
        return Outline()
    etree.strip_elements(tree, *_UNSHOWN, with_tail=False)
    title, base = tree.find(".//title"), tree.find(".//base[@href]")
    return Outline(
        "".join(islice(title.itertext(), _PIECES)) if title is not None else "",
        base.get("href", "") if base is not None else "",
        "".join(_pieces(etree, tree)),
        tuple(_link(a) for a in islice(tree.iter("a"), _MOST_LINKS) if a.get("href")),
        sum(1 for _ in tree.iter()),
    )


def calmed(html: str) -> str:
    """The page without tags of absurdly many attributes."""
    return _TAG.sub(_kept, html)


def main_text(html: str, outline: Outline) -> str:
    """The page's own text without menus and footers, or all text if little would be left.

    Raises:
        MissingExtraError: trafilatura is not installed.
    """
    if outline.elements > _MOST_ELEMENTS or len(html) > _MOST_CHARACTERS:
        return outline.text
    trafilatura = optional("trafilatura", "reading pages")
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it reports every odd page as an error
    options = {"output_format": "markdown", "include_comments": False, "include_tables": True, "favor_recall": True}
    try:
        found = trafilatura.extract(html, **options) or ""
    except Exception:  # noqa: BLE001 - it raises anything on a broken page, which is still text
        found = ""
    whole = " ".join(outline.text.split())
    return found if len(" ".join(found.split())) >= _LITTLE * len(whole) else outline.text


def _kept(tag: re.Match[str]) -> str:
    return tag[0] if len(tag[0]) <= _LONGEST_TAG or len(_VALUE.sub("", tag[0])) <= _LONGEST_TAG else " "


def _link(element: Any) -> tuple[str, str]:
    text = " ".join("".join(islice(element.itertext(), _PIECES)).split())
    return text or element.get("title") or element.get("aria-label") or "", element.get("href")


def _pieces(etree: Any, tree: Any) -> Iterator[str]:
    for event, element in etree.iterwalk(tree, events=("start", "end")):
        if element.tag == "head":
            continue
        if element.tag not in _INLINE:
            yield " " if element.tag in ("td", "th") else "\n"
        if event == "start" and element.text and element.getparent() is not None and not _in_head(element):
            yield element.text
        elif event == "end" and element.tail and not _in_head(element):
            yield element.tail


def _in_head(element: Any) -> bool:
    parent = element.getparent()
    return parent is not None and parent.tag == "head"
