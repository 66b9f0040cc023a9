"""The tools of the web student: search, polite and safe browsing, and MCP servers.

search      what can search: one protocol, and Serper, Tavily, DuckDuckGo (`services`) or an index of your own
browser     the three tools of an agent, and what one rollout remembers
loading     a page by its address: cache, robots.txt and pace (`courtesy`) around the fetcher
fetching    one request within its limits; `connecting` goes only to addresses that `addresses` allows
reading     bytes to text, title and links; `pdf_text` runs in a process of its own
framing     foreign text made harmless for a prompt
mcp_server  tools of any MCP server in place of these
"""

from programs.web_tools.addresses import AddressRules
from programs.web_tools.browser import Browser
from programs.web_tools.fetching import Fetcher, FetchLimits
from programs.web_tools.loading import PageLoader
from programs.web_tools.local_index import LocalIndex
from programs.web_tools.mcp_server import McpServer, mcp_tools
from programs.web_tools.providers import provider_of
from programs.web_tools.reading import Document, Link
from programs.web_tools.search import Hit, SearchProvider, SearchUnavailable
from programs.web_tools.services import DuckDuckGo, Serper, Tavily

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
