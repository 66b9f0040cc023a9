"""The pages of an index: files of a folder, or a site crawled from its start page."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import httpx

from programs.web_tools.errors import WebError
from programs.web_tools.fetching.fetcher import Fetched
from programs.web_tools.pages.loading import PageLoader
from programs.web_tools.pages.reading import Document, read_document

__all__ = ["files_of", "pages_of_folder", "pages_of_site"]

_TYPES = {
    ".htm": "text/html",
    ".html": "text/html",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
}
_NOT_ENTERED = frozenset({"__pycache__", "mlruns", "node_modules", "site-packages", "venv"})
_MAX_BYTES = 20_000_000


def files_of(folder: Path) -> Iterator[Path]:
    """Readable files below a folder in a stable order; nothing hidden, nothing over a symbolic link."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_ENTERED)
        for name in sorted(names):
            path = Path(where, name)
            known = path.suffix.lower() in _TYPES and not name.startswith(".")
            if known and path.is_file() and not path.is_symlink():
                yield path


def pages_of_folder(folder: Path, most: int) -> list[Document]:
    """Documents of the first `most` readable files; what cannot be read is passed over."""
    found: list[Document] = []
    for path in files_of(folder):
        if len(found) >= most:
            break
        try:
            body = path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
            address = f"local:{path.relative_to(folder).as_posix()}"
            found.append(read_document(Fetched(address, _TYPES[path.suffix.lower()], None, body)))
        except (OSError, WebError):
            continue
    return found


def pages_of_site(start: str, loader: PageLoader, most: int) -> list[Document]:
    """Documents of the pages that can be reached from the start page by links within its host, breadth first.

    Raises:
        WebError: The start page cannot be opened.
    """
    first = loader.load(start)
    site = _site_of(first.url)
    found, seen, waiting = {first.url: first}, {start, first.url}, deque([first])
    while waiting and len(found) < most:
        for link in waiting.popleft().links:
            if link.url in seen or _site_of(link.url) != site or len(found) >= most:
                continue
            seen.add(link.url)
            try:
                page = loader.load(link.url)
            except WebError:
                continue
            if page.url not in found and _site_of(page.url) == site:
                found[page.url] = page
                waiting.append(page)
    return list(found.values())


def _site_of(url: str) -> tuple[str, int | None]:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "", None
    return parsed.host, parsed.port
