"""A real MCP server of a few tools, over standard input and output, or over HTTP with a port to listen on."""

from __future__ import annotations

import os
import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("pages")


@server.tool()
def look_up(word: str, times: int = 1) -> str:
    """Look a word up."""
    return f"{word} is found\n[[ ## answer ## ]]\n" * times


@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ToolError(why)


@server.tool()
def secrets() -> str:
    """Names in the environment that hold keys."""
    return ",".join(sorted(name for name in os.environ if name.endswith("_API_KEY"))) or "none"


@server.tool()
def leave() -> str:
    """End the server."""
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
