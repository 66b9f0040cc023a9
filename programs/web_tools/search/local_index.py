"""A search engine of one's own: BM25 over a folder, a crawled site or given documents. No key, no service."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from programs.web_tools.errors import WebError
from programs.web_tools.pages.loading import PageLoader
from programs.web_tools.pages.reading import Document
from programs.web_tools.search.gathering import files_of, pages_of_folder, pages_of_site
from programs.web_tools.search.hits import Hit, SearchUnavailable
from tfgrpo_dspy import BM25, MissingExtraError, SettingsError

__all__ = ["LocalIndex"]

_MOST_PAGES = 500
_SNIPPET = 240  # characters


class LocalIndex:
    """An index that is made when it is first searched, and shared by all copies of a program.

    Args:
        source: A folder (html, txt, md and pdf files; found under `local:path`), the http address of a site (crawled
            within its host), or documents.
        loader: Opens the pages of a site.
        max_pages: Pages at most.

    Raises:
        SettingsError: The folder is not there or holds nothing readable.
        MissingExtraError: bm25s is not installed.
    """

    def __init__(
        self, source: str | Path | Sequence[Document], *, loader: PageLoader | None = None, max_pages: int = _MOST_PAGES
    ) -> None:
        if find_spec("bm25s") is None:
            raise MissingExtraError("a local index needs bm25s: pip install 'tfgrpo-dspy[retrieval]'")
        self._source, self._loader, self._max_pages = _checked(source), loader, max_pages
        self._documents: list[Document] = []
        self._index: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._source, self._loader, self._max_pages)

    def __deepcopy__(self, memo: object) -> LocalIndex:
        return self

    def search(self, query: str, n: int) -> list[Hit]:
        """At most n documents that share a word with the query, best first.

        Raises:
            SearchUnavailable: The site cannot be crawled.
        """
        self._make()
        if self._index is None:
            return []
        best = [self._documents[match.position] for match in self._index.best(query, n)]
        return [Hit(d.title or d.url, d.url, _snippet(d, query)) for d in best]

    def document(self, url: str) -> Document | None:
        """The file of a `local:` address; None for any other, as pages of a site are opened where they are.

        Raises:
            WebError: There is no such file in the index.
        """
        if not url.startswith("local:"):
            return None
        self._make()
        found = next((d for d in self._documents if d.url == url), None)
        if found is None:
            raise WebError(f"no file of the index is called {url}; search for it")
        return found

    def _make(self) -> None:
        with self._lock:
            if self._documents:
                return
            documents = self._gathered()
            self._index = BM25().rank([f"{d.title} {d.title} {d.text}" for d in documents])  # a title counts twice
            self._documents = documents

    def _gathered(self) -> list[Document]:
        if isinstance(self._source, Path):
            return pages_of_folder(self._source, self._max_pages)
        if not isinstance(self._source, str):
            return list(self._source)[: self._max_pages]
        try:
            return pages_of_site(self._source, self._loader or PageLoader(), self._max_pages)
        except WebError as error:
            raise SearchUnavailable(f"the site {self._source} cannot be crawled: {error}") from error


def _again(source: Any, loader: PageLoader | None, max_pages: int) -> LocalIndex:
    return LocalIndex(source, loader=loader, max_pages=max_pages)


def _checked(source: str | Path | Sequence[Document]) -> str | Path | tuple[Document, ...]:
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return source
    if not isinstance(source, str | Path):
        return tuple(source)
    folder = Path(source)
    if not folder.is_dir():
        raise SettingsError(f"there is no folder {folder} to search in; give local:FOLDER or local:http://host/")
    if next(files_of(folder), None) is None:
        raise SettingsError(f"{folder} holds no html, txt, md or pdf file to search in; give local:FOLDER or local:URL")
    return folder


def _snippet(found: Document, query: str) -> str:
    """The line that fits the query best, and what follows it; the title is shown already."""
    lines = found.text.splitlines(keepends=True)
    best = BM25().rank(["" if line.strip("# \n") in found.title else line for line in lines]).best(query, 1)
    start = sum(map(len, lines[: best[0].position])) if best else 0
    return " ".join(found.text[start : start + _SNIPPET].split())
