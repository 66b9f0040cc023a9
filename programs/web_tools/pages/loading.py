"""A page by its address: from the cache, or fetched politely and read."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from programs.web_tools.errors import WebError
from programs.web_tools.fetching.addresses import AddressRules, port_of
from programs.web_tools.fetching.courtesy import Pace, Robots
from programs.web_tools.fetching.fetcher import Fetcher, FetchLimits
from programs.web_tools.pages.cache import PageCache
from programs.web_tools.pages.reading import Document, read_document
from tfgrpo_dspy import MissingExtraError

__all__ = ["PageLoader"]


class PageLoader:
    """Opens pages for all rollouts of a program; safe to share between threads, and not copied with it.

    Args:
        fetcher: Gets the bytes.
        pace: Spaces requests to one host. Hosts that were allowed by name are the user's own and are not spaced.
        robots: Whether `robots.txt` is heeded.
        cache: Keeps documents.
    """

    def __init__(
        self,
        fetcher: Fetcher | None = None,
        *,
        pace: Pace | None = None,
        robots: bool = True,
        cache: PageCache | None = None,
    ) -> None:
        self.fetcher = fetcher or Fetcher()
        self._pace, self._cache = pace or Pace(0.5), cache or PageCache()
        self._robots = Robots(self.fetcher) if robots else None

    @classmethod
    def to(
        cls,
        allow: Iterable[str] = (),
        *,
        allow_private: bool = False,
        limits: FetchLimits | None = None,
        robots: bool = True,
    ) -> PageLoader:
        """A loader that may reach the public web and the `host:port` pairs of `allow`.

        Raises:
            SettingsError: One of them cannot be understood.
        """
        return cls(Fetcher(AddressRules.of(allow, allow_private=allow_private), limits), robots=robots)

    def __deepcopy__(self, memo: object) -> PageLoader:
        return self  # the pace is kept, and pages are read once, over all copies of a program

    def load(self, url: str) -> Document:
        """The document at an address.

        Raises:
            WebError: It cannot be had; the message tells the model what to do.
        """
        return self._cache.get(str(self.fetcher.rules.check_url(url)), self._read)

    def _read(self, url: str) -> Document:
        fetched = self.fetcher.fetch(url, before=self._before)
        try:
            return read_document(fetched)
        except (WebError, MissingExtraError):
            raise
        except Exception as error:  # parsers of hostile bytes raise anything, and the text of it is foreign too
            raise WebError(f"{url} cannot be read ({type(error).__name__}); open another page") from error

    def _before(self, url: httpx.URL) -> None:
        if self._robots is not None:
            self._robots.check(url)
        if not self.fetcher.rules.allows(url.host, port_of(url)):
            self._pace.wait(url.host)
