"""The tools of the web student: search, polite and safe browsing, and MCP servers.

browser     the three tools of an agent, and what one rollout remembers
search/     what can search: one protocol, and Serper, Tavily, DuckDuckGo (`services`) or an index of your own
pages/      a page by its address (`loading`), from bytes to text, title and links (`reading`)
fetching/   one request within its limits; `connecting` goes only to addresses that `addresses` allows
framing     foreign text made harmless for a prompt
mcp_server  tools of any MCP server in place of these
"""

from programs.web_tools.browser import Browser
from programs.web_tools.fetching.addresses import AddressRules
from programs.web_tools.fetching.fetcher import Fetcher, FetchLimits
from programs.web_tools.mcp_server import McpServer, mcp_tools
from programs.web_tools.pages.loading import PageLoader
from programs.web_tools.pages.reading import Document, Link
from programs.web_tools.search.hits import Hit, SearchProvider, SearchUnavailable
from programs.web_tools.search.local_index import LocalIndex
from programs.web_tools.search.providers import provider_of
from programs.web_tools.search.services import DuckDuckGo, Serper, Tavily

__all__ = [
    "AddressRules",
    "Browser",
    "Document",
    "DuckDuckGo",
    "FetchLimits",
    "Fetcher",
    "Hit",
    "Link",
    "LocalIndex",
    "McpServer",
    "PageLoader",
    "SearchProvider",
    "SearchUnavailable",
    "Serper",
    "Tavily",
    "mcp_tools",
    "provider_of",
]
