"""What an agent can search with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from programs.web_tools.pages.reading import Document

__all__ = ["Hit", "PageSource", "SearchProvider", "SearchUnavailable"]


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
