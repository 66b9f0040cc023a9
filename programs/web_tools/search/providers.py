"""Who answers a web search."""

from __future__ import annotations

import os

from programs.web_tools.pages.loading import PageLoader
from programs.web_tools.search.hits import SearchProvider
from tfgrpo_dspy import SettingsError


def provider_of(spec: str, loader: PageLoader) -> SearchProvider:
    """The provider that a word names.

    Args:
        spec: `serper`, `tavily`, `ddgs`, `local` (the current folder), `local:FOLDER` or `local:URL` (a site to crawl).
        loader: Opens the pages of a crawled site.

    Raises:
        SettingsError: It names none, or its key is not in the environment.
    """
    from programs.web_tools.search.local_index import LocalIndex
    from programs.web_tools.search.services import DuckDuckGo, Serper, Tavily

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
