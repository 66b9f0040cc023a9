"""Tools of an MCP server, e.g. a browser or a search engine, for an agent of ours."""

from __future__ import annotations

import asyncio
import atexit
import shlex
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import dspy

from programs.web_tools.errors import optional
from programs.web_tools.framing import UNTRUSTED, clipped, quoted
from tfgrpo_dspy import SettingsError

__all__ = ["McpServer", "mcp_tools"]

_DESCRIPTION = 2_000  # characters
_MOST_CHARACTERS = 20_000
_START_SECONDS = 30.0


class McpServer:
    """A connection to one MCP server, kept in a thread of its own, so that rollouts in any thread can call its tools.

    Use it in a `with` block, or call `close`.

    Args:
        command: Starts a server that speaks over standard input and output, e.g. `npx some-server` or its words.
        url: Address of a server that speaks over HTTP instead.
        env: Environment of the command; a few harmless variables if left out, none of your keys.
        timeout: Seconds for one call of a tool.

    Raises:
        SettingsError: The server does not start or answer, or both or neither of command and url are given.
        MissingExtraError: mcp is not installed.
    """

    def __init__(
        self,
        command: str | Sequence[str] | None = None,
        *,
        url: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        if (command is None) == (url is None):
            raise SettingsError("give either the command that starts the MCP server or its url")
        self._server = url if command is None else _parameters(command, env)
        self._client_class = optional("mcp", "MCP tools").Client
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._listed: list[dspy.Tool] = []
        self._thread = threading.Thread(target=self._run, name="mcp", daemon=True)
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if why := self._why_not():
            self.close()
            raise SettingsError(f"the MCP server {url or command} cannot be used: {why}") from self._failure

    def __enter__(self) -> McpServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __deepcopy__(self, memo: object) -> McpServer:
        return self

    @property
    def tools(self) -> list[dspy.Tool]:
        """Its tools, for any DSPy agent, sync or async. Their results are shown as untrusted text."""
        return [
            dspy.Tool(_Remote(self, t), t.name, clipped(t.desc or "", _DESCRIPTION), t.args, t.arg_types, t.arg_desc)
            for t in self._listed
        ]

    def call(self, tool: dspy.Tool, arguments: Mapping[str, Any]) -> str:
        """The result of one call of a tool, or what went wrong with it, for the model to read.

        Raises:
            ConnectionError: The server is gone: the rollout is lost, not scored.
        """
        if not self._thread.is_alive() or self._stop.is_set():
            raise ConnectionError("the MCP server is gone")
        asked = tool.acall(**arguments)
        try:
            called = asyncio.run_coroutine_threadsafe(asked, self._loop)
        except RuntimeError as error:  # its loop was closed since
            asked.close()
            raise ConnectionError("the MCP server is gone") from error
        try:
            return _shown(called.result(self._timeout))
        except TimeoutError:
            called.cancel()
            return f"Error: {tool.name} did not answer within {self._timeout:g} s."
        except RuntimeError as error:  # how DSPy tells of an error that the tool reported
            return f"Error. {_shown(error)}"
        except optional("mcp", "MCP tools").MCPError as error:
            if error.code == optional("mcp.types", "MCP tools").CONNECTION_CLOSED:
                raise ConnectionError("the MCP server is gone") from error
            return f"Error. {_shown(error)}"

    def close(self) -> None:
        """End the connection, and the server if it was started here."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    def _why_not(self) -> str:
        if self._failure is not None:
            return clipped(str(_first(self._failure)), 300) or "it failed"
        return "" if self._ready.is_set() else f"no answer in {_START_SECONDS:g} s"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - the thread's end is told to whoever waits for the tools
            self._failure = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        """Hold the connection: it must be opened and closed by one task."""
        async with self._client_class(self._server, read_timeout_seconds=self._timeout) as client:
            listed = await client.list_tools()
            self._listed = [dspy.Tool.from_mcp_tool(client, tool) for tool in listed.tools]
            self._ready.set()
            await self._stop.wait()


def mcp_tools(command: str | Sequence[str] | None = None, *, url: str | None = None) -> list[dspy.Tool]:
    """Tools of an MCP server, connected to until the process ends.

    Args:
        command: Starts a server over standard input and output.
        url: Address of a server over HTTP.

    Raises:
        SettingsError: The server cannot be used.
    """
    server = McpServer(command, url=url)
    atexit.register(server.close)
    return server.tools


class _Remote:
    """A tool as a function; its arguments are those of the server's tool."""

    def __init__(self, server: McpServer, tool: dspy.Tool) -> None:
        self._server, self._tool = server, tool
        self.__name__ = tool.name or "tool"

    def __call__(self, **arguments: Any) -> str:
        return self._server.call(self._tool, arguments)


def _parameters(command: str | Sequence[str], env: Mapping[str, str] | None) -> Any:
    words = shlex.split(command) if isinstance(command, str) else list(command)
    if not words:
        raise SettingsError("the command of the MCP server is empty")
    made = optional("mcp", "MCP tools").StdioServerParameters
    return made(command=words[0], args=words[1:], env=dict(env) if env is not None else None)


def _shown(result: Any) -> str:
    text = "\n".join(map(str, result)) if isinstance(result, list) else str(result)
    note = f"\n(cut after {_MOST_CHARACTERS:,} characters)" if len(text) > _MOST_CHARACTERS else ""
    return f"{UNTRUSTED}\n{quoted(text[:_MOST_CHARACTERS])}{note}"


def _first(error: BaseException | None) -> BaseException | None:
    """The innermost of a group of errors, which is what went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
