"""Pages that were read, shared by all rollouts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from programs.web_tools.pages.reading import Document

__all__ = ["PageCache"]


class PageCache:
    """Documents by address, the longest unused forgotten first; one rollout reads a page while the others wait for it.

    What could not be read is not kept.

    Args:
        max_characters: Of all texts together.
    """

    def __init__(self, max_characters: int = 50_000_000) -> None:
        self._max = max_characters
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._characters = 0
        self._under_way: dict[str, Future[Document]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[PageCache], tuple[int]]:
        return PageCache, (self._max,)  # elsewhere it starts empty

    def get(self, url: str, read: Callable[[str], Document]) -> Document:
        """The document at an address, read if it is not known.

        Raises:
            Exception: Whatever `read` raises, to everyone who waited for it.
        """
        with self._lock:
            if url in self._kept:
                self._kept.move_to_end(url)
                return self._kept[url]
            mine = url not in self._under_way
            promised = self._under_way.setdefault(url, Future())
        if not mine:
            return promised.result()
        try:
            document = read(url)
        except BaseException as error:
            self._finish(url, None)
            promised.set_exception(error)
            raise
        self._finish(url, document)
        promised.set_result(document)
        return document

    def _finish(self, url: str, document: Document | None) -> None:
        with self._lock:
            del self._under_way[url]
            if document is not None:
                self._kept[url] = document
                self._characters += len(document.text)
            while self._characters > self._max and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._characters -= len(dropped.text)
