"""What an agent can search with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tfgrpo_dspy.errors import SettingsError

if TYPE_CHECKING:
    from programs.web_tools.loading import PageLoader
    from programs.web_tools.reading import Document

__all__ = ["Hit", "PageSource", "SearchProvider", "SearchUnavailable", "provider_of"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search. Foreign text, as the provider gave it."""

    title: str
    url: str
    snippet: str


class SearchProvider(Protocol):
    """Anything that can search; called from many threads at once."""

    def search(self, query: str, n: int) -> list[Hit]:
        """At most n hits, best first; empty if nothing was found.

        Raises:
            SearchUnavailable: The service did not answer: the rollout is lost, not scored.
            WebError: The query cannot be answered; shown to the model.
        """
        ...


@runtime_checkable
class PageSource(Protocol):
    """A provider that holds the pages it finds, e.g. files, which no browser may open by themselves."""

    def document(self, url: str) -> Document | None:
        """The document of one of its addresses; None if it is not one."""
        ...


class SearchUnavailable(ConnectionError):
    """The search service itself failed (no key, no credit, too many requests, no network); nothing the model did.

    A `ConnectionError` of a tool loses the rollout (`programs.agents.ToolAgent`), as a time-out of the LM would.
    """


def provider_of(spec: str, loader: PageLoader) -> SearchProvider:
    """The provider that a word names.

    Args:
        spec: `serper`, `tavily`, `ddgs`, `local` (the current folder), `local:FOLDER` or `local:URL` (a site to crawl).
        loader: Opens the pages of a crawled site.

    Raises:
        SettingsError: It names none, or its key is not in the environment.
    """
    from programs.web_tools.local_index import LocalIndex
    from programs.web_tools.services import DuckDuckGo, Serper, Tavily

    kind, _, source = spec.partition(":")
    if kind == "local":
        return LocalIndex(source or ".", loader=loader)
    makers = {"serper": Serper, "tavily": Tavily, "ddgs": DuckDuckGo}
    if kind not in makers or source:
        raise SettingsError(
            f"no search is called {spec!r}; choose serper, tavily, ddgs, local, local:FOLDER or local:URL"
        )
    made: Serper | Tavily | DuckDuckGo = makers[kind]()
    if made.key_name is not None and not os.environ.get(made.key_name):
        raise SettingsError(f"search={spec} needs a key: set {made.key_name} in the environment, or use search=ddgs")
    return made
