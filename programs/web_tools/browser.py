"""The three tools of a web agent, and what one rollout remembers between their calls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dspy

from programs.rollout_local import RolloutLocal
from programs.web_tools.errors import WebError
from programs.web_tools.framing import UNTRUSTED, clipped, quoted
from programs.web_tools.pages.loading import PageLoader
from programs.web_tools.pages.reading import Document, absolute
from programs.web_tools.search.hits import PageSource, SearchProvider

__all__ = ["Browser", "visiting"]

_HITS = 8
_SNIPPET = 300  # characters
_PART = 6_000  # characters of a page that are shown at once
_LINKS = 40  # links that are shown with a part
_PASSAGES = 6
_PASSAGE = 400  # characters
_SHOWN_URL = 300
_MOST_QUERY = 400
_NUMBER = re.compile(r"\s*\[?\s*([0-9]{1,4})\s*\]?\s*")


@dataclass(slots=True)
class _Visit:
    """What one rollout has seen. Mutable, as the tools of a rollout may run in contexts copied from its own."""

    page: Document | None = None
    listed: tuple[str, ...] = ()
    """Addresses of the last list that was shown, by number from 1."""


_visit: RolloutLocal[_Visit] = RolloutLocal("visit")


@contextmanager
def visiting() -> Iterator[None]:
    """A rollout's own memory: what is opened inside is the last page there and nowhere else."""
    with _visit.holding(_Visit()):
        yield


class Browser:
    """Tools for an agent. Safe to share between rollouts: what a rollout sees is kept in its context (`visiting`).

    Mistakes and unreachable pages are observations that begin with `Error:`. What comes from the web stands behind a
    bar (`framing`). Failures of the search service raise `SearchUnavailable`.

    Args:
        search: What to search with.
        loader: Opens pages.
    """

    def __init__(self, search: SearchProvider, loader: PageLoader) -> None:
        self._search, self._loader = search, loader

    def __deepcopy__(self, memo: object) -> Browser:
        return self

    def tools(self) -> list[dspy.Tool]:
        """`web_search`, `open_page` and `find_in_page`."""
        functions = (self.web_search, self.open_page, self.find_in_page)
        return [dspy.Tool(f, desc=" ".join((f.__doc__ or "").split())) for f in functions]

    def web_search(self, query: str) -> str:
        """Search and list titles, addresses and snippets. A snippet may be old or cut: open the page before you rely
        on it, by its number in the list or its address.
        """  # noqa: D205 - the prompt shows it in one line
        query = " ".join(query.split())[:_MOST_QUERY]
        if not query:
            return "Error: the query is empty; write a few words to search for."
        try:
            hits = self._search.search(query, _HITS)
        except WebError as error:
            return _told(error)
        if not hits:
            return f"Nothing was found for {clipped(query, 100)!r}; use fewer or other words."
        _memory().listed = tuple(hit.url for hit in hits)
        lines = (
            f"[{n}] {clipped(hit.title, 200)}\n{clipped(hit.url, _SHOWN_URL)}\n{clipped(hit.snippet, _SNIPPET)}"
            for n, hit in enumerate(hits, 1)
        )
        return f"Results for {clipped(query, 100)!r}. {UNTRUSTED}\n{quoted(chr(10).join(lines))}"

    def open_page(self, url: str, part: int = 1) -> str:
        """Open a page and read it with its links. `url` is an address, or a number of the list shown last. A long page
        comes in parts; `part` chooses one.
        """  # noqa: D205
        try:
            page = self._page(url)
        except WebError as error:
            return _told(error)
        parts = _parts(page.text)
        shown_in = max(len(parts), -(-len(page.links) // _LINKS))
        if not 1 <= part <= shown_in:
            return f"Error: the page has parts 1 to {shown_in}, not {part}."
        memory = _memory()
        memory.page, memory.listed = page, tuple(link.url for link in page.links)
        head = f"Opened {clipped(page.url, _SHOWN_URL)}, part {part} of {shown_in}. {page.note} {UNTRUSTED}"
        text = parts[part - 1] if part <= len(parts) else ""
        body = quoted(f"# {page.title}\n{text}" if page.title and part == 1 else text)
        more = f"\nThe page goes on: open it again with part {part + 1}." if part < shown_in else ""
        return f"{' '.join(head.split())}\n{body}{_shown_links(page, part)}{more}"

    def find_in_page(self, text: str) -> str:
        """Find passages with a text on the page that was opened last, all of its parts included."""
        page = _memory().page
        wanted = " ".join(text.split()).lower()
        if page is None:
            return "Error: no page is open; open one with open_page first."
        if not wanted:
            return "Error: the text is empty; write what to look for."
        where = clipped(page.url, _SHOWN_URL)
        found = _passages(page, wanted)
        if not found:
            return f"{clipped(text, 100)!r} is not on {where}; try one word of it, or another page."
        shown = "\n".join(f"(part {part}) {clipped(passage, _PASSAGE)}" for part, passage in found[:_PASSAGES])
        more = f"\n{len(found) - _PASSAGES} more passages; look for a longer text." if len(found) > _PASSAGES else ""
        return f"Found on {where}. {UNTRUSTED}\n{quoted(shown)}{more}"

    def _page(self, text: str) -> Document:
        """The page of an address or of a number; a relative address is taken from the page that is open."""
        memory = _memory()
        if number := _NUMBER.fullmatch(text):
            url = _listed(memory.listed, int(number[1]))
        else:
            url = text.strip().strip("<>\"'")
        if memory.page is not None and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url):
            url = _joined(memory.page.url, url)
        own = self._search.document(url) if isinstance(self._search, PageSource) else None
        return own if own is not None else self._loader.load(url)


def _memory() -> _Visit:
    memory = _visit.get()
    if memory is None:  # tools used without a program: the context of the caller remembers
        memory = _Visit()
        _visit.set(memory)
    return memory


def _told(error: WebError) -> str:
    return f"Error: {clipped(str(error), 500)}"


def _listed(listed: Sequence[str], number: int) -> str:
    if not 1 <= number <= len(listed):
        known = f"1 to {len(listed)}" if listed else "none yet: search first"
        raise WebError(f"there is no number {number} in the last list, which has {known}")
    return listed[number - 1]


def _joined(base: str, url: str) -> str:
    try:
        return absolute(base, url)
    except ValueError as error:
        raise WebError("this is no valid address") from error


def _parts(text: str) -> list[str]:
    """The text in parts of at most `_PART` characters, cut at a line's end where there is one."""
    parts: list[str] = []
    while len(text) > _PART:
        cut = text.rfind("\n", _PART // 2, _PART)
        cut = cut if cut > 0 else _PART
        parts.append(text[:cut])
        text = text[cut:].lstrip("\n")
    return [*parts, text]


def _shown_links(page: Document, part: int) -> str:
    first = (part - 1) * _LINKS
    links = page.links[first : first + _LINKS]
    if not links:
        return ""
    lines = [f"[{n}] {link.text} -> {clipped(link.url, _SHOWN_URL)}" for n, link in enumerate(links, first + 1)]
    total = f"Links {first + 1} to {first + len(links)} of {len(page.links)}; open one by its number."
    return f"\n{total}\n{quoted(chr(10).join(lines))}"


def _passages(page: Document, wanted: str) -> list[tuple[int, str]]:
    """Part and surroundings of every line with the text, or else with all of its words."""
    lines = [(n, line) for n, part in enumerate(_parts(page.text), 1) for line in part.splitlines() if line.strip()]
    folded = [" ".join(line.split()).lower() for _, line in lines]
    hits = [i for i, line in enumerate(folded) if wanted in line]
    if not hits:
        words = wanted.split()
        hits = [i for i, line in enumerate(folded) if all(word in line for word in words)]
    return [(lines[i][0], _around(" ".join(lines[i][1].split()), wanted)) for i in hits]


def _around(line: str, wanted: str) -> str:
    start = max(line.lower().find(wanted) - _PASSAGE // 2, 0)
    return line[start : start + _PASSAGE]
