"""A library for agents that speak the Model Context Protocol: they search it, read it, and propose what to add.

Only the extra `mcp` brings what is imported here, so this module is imported by `tfgrpo mcp` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from tfgrpo_dspy.errors import TFGRPOError
from tfgrpo_dspy.history.file import load_tracked
from tfgrpo_dspy.history.proposals import propose
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Modify
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.records.wording import origin_text

_INSTRUCTIONS = (
    "A library of experiences: short advice that was learned from earlier attempts at tasks of one kind. Call search "
    "with the task before you begin. When an attempt taught you something that the library does not say, propose it: a "
    "person decides whether it enters."
)


def server_of(path: Path) -> MCPServer:
    """The server of a library file."""
    server = MCPServer("tfgrpo", instructions=_INSTRUCTIONS, log_level="WARNING")
    tools = _Tools(path)
    for tool in (tools.search, tools.read, tools.propose):
        server.add_tool(tool)
    return server


@dataclass(frozen=True, slots=True)
class _Tools:
    """What the client may call; the file is read for each call, so that what people change is seen."""

    path: Path

    def search(
        self,
        task: Annotated[str, Field(description="What is to be done, in words.")],
        tokens: Annotated[int, Field(ge=1, description="What the answer may take, estimated.")] = 800,
    ) -> str:
        """Find the experiences that are of most use for a task."""
        with _told():
            return self._library().render(task, tokens) or "the library is empty"

    def read(
        self,
        id: Annotated[str | None, Field(description="An experience's id, such as G7; without, all of them.")] = None,
    ) -> str:
        """Read the whole library, or one experience with where it came from."""
        with _told():
            library = self._library()
            if id is None:
                return render_lines(library) or "the library is empty"
            if id not in library:
                raise ToolError(f"there is no {id}; the ids are {', '.join(e.id for e in library)}")
            return f"{render_lines([library[id]])}\n{origin_text(library[id])}"

    def propose(
        self,
        text: Annotated[str, Field(description="One sentence, at best: When ..., do ...")],
        reason: Annotated[str, Field(description="What happened that taught it.")],
        context: Context,
        id: Annotated[str | None, Field(description="The experience to reword; without, a new one.")] = None,
    ) -> str:
        """Propose an experience. A person decides whether it enters; until then the library stays as it is."""
        operation = Add(text=text, reason=reason) if id is None else Modify(id=id, text=text, reason=reason)
        client = context.session.client_params
        with _told():
            propose(self._library(), operation, client.client_info.name if client is not None else "", self.path)
        return "proposed; it enters the library if a person accepts it"

    def _library(self) -> ExperienceLibrary:
        return load_tracked(self.path).library


@contextmanager
def _told() -> Iterator[None]:
    """The client is told what went wrong; of any other error only that there was one."""
    try:
        yield
    except (TFGRPOError, OSError) as error:
        raise ToolError(str(error)) from error
