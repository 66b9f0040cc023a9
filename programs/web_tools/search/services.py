"""Search services of the web. Keys are read from the environment when they are needed, and appear nowhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import httpx

from programs.web_tools.errors import WebError, optional
from programs.web_tools.search.hits import Hit, SearchUnavailable

__all__ = ["DuckDuckGo", "Serper", "Tavily"]

_TRIES = 3
_LONGEST_PAUSE = 10.0  # seconds
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)


class _JsonService:
    """A search over HTTP: one POST, JSON there and back.

    Args:
        endpoint: Its address, if it is not the service's own.
        pause: Waits some seconds before another try.
    """

    key_name: ClassVar[str | None]
    _endpoint: ClassVar[str]
    _fields: ClassVar[tuple[str, str, str, str]]
    """Name of the list of results, and of title, address and snippet in each."""

    def __init__(self, endpoint: str | None = None, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._url, self._pause = endpoint or self._endpoint, pause

    def search(self, query: str, n: int) -> list[Hit]:
        """At most n hits.

        Raises:
            SearchUnavailable: No key, the key was refused, or the service did not answer after three tries.
            WebError: The service refused the query.
        """
        key = os.environ.get(self.key_name or "")
        if not key:
            raise SearchUnavailable(f"{self._name} needs a key: set {self.key_name} in the environment")
        headers, body = self._request(key, query, n)
        listed, title, url, snippet = self._fields
        try:
            found = self._answer(headers, body).get(listed) or []
            return [Hit(str(r.get(title) or ""), str(r[url]), str(r.get(snippet) or "")) for r in found if r.get(url)][
                :n
            ]
        except (AttributeError, TypeError, ValueError) as error:
            raise SearchUnavailable(f"{self._name} gave an answer of an unknown form") from error

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _request(self, key: str, query: str, n: int) -> tuple[dict[str, str], dict[str, Any]]:
        raise NotImplementedError

    def _answer(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> Any:
        why = "no answer"
        for attempt in range(_TRIES):
            try:
                response = httpx.post(self._url, json=body, headers=headers, timeout=_TIMEOUT, follow_redirects=False)
            except httpx.HTTPError as error:
                why, asked = type(error).__name__, None
            else:
                if response.status_code == HTTPStatus.OK:
                    return response.json()
                self._check(response.status_code)
                why, asked = f"status {response.status_code}", response.headers.get("retry-after")
            if attempt + 1 < _TRIES:
                self._pause(_pause_of(asked, attempt))
        raise SearchUnavailable(f"{self._name} did not answer after {_TRIES} tries ({why})")

    def _check(self, status: int) -> None:
        if status in (401, 402, 403):
            raise SearchUnavailable(
                f"{self._name} refused the key (status {status}): check {self.key_name} and its credit"
            )
        if status != HTTPStatus.TOO_MANY_REQUESTS and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise WebError(f"the search refused this query (status {status}); put it in other words")


class Serper(_JsonService):
    """Google's results by serper.dev; the key is `SERPER_API_KEY`."""

    key_name = "SERPER_API_KEY"
    _endpoint = "https://google.serper.dev/search"
    _fields = ("organic", "title", "link", "snippet")

    def _request(self, key: str, query: str, n: int) -> tuple[dict[str, str], dict[str, Any]]:
        return {"X-API-KEY": key}, {"q": query, "num": n}


class Tavily(_JsonService):
    """Results of tavily.com; the key is `TAVILY_API_KEY`."""

    key_name = "TAVILY_API_KEY"
    _endpoint = "https://api.tavily.com/search"
    _fields = ("results", "title", "url", "content")

    def _request(self, key: str, query: str, n: int) -> tuple[dict[str, str], dict[str, Any]]:
        return {"Authorization": f"Bearer {key}"}, {"query": query, "max_results": n}


class DuckDuckGo:
    """Free search engines by the `ddgs` package; no key, and often "too many requests"."""

    key_name: ClassVar[str | None] = None

    def search(self, query: str, n: int) -> list[Hit]:
        """At most n hits.

        Raises:
            SearchUnavailable: The engines did not answer.
            MissingExtraError: ddgs is not installed.
        """
        ddgs, errors = optional("ddgs", "this search"), optional("ddgs.exceptions", "this search")
        try:
            found: Iterable[Mapping[str, Any]] = ddgs.DDGS().text(query, max_results=n)
        except errors.DDGSException as error:
            if "no results" in str(error).lower():
                return []
            raise SearchUnavailable(f"ddgs: {type(error).__name__}: {error}") from error
        return [Hit(str(r.get("title", "")), str(r["href"]), str(r.get("body", ""))) for r in found if r.get("href")][
            :n
        ]


def _pause_of(asked: str | None, attempt: int) -> float:
    """Seconds to wait: what the service asked for, within bounds, or 1, 2, 4, ..."""
    seconds = float(asked) if asked is not None and asked.isdecimal() else float(2**attempt)
    return min(seconds, _LONGEST_PAUSE)
