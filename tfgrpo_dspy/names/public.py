"""The public names of a room, loaded at their first use, so that importing the room costs next to nothing (PEP 562)."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def lazily(room: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package, whose `if TYPE_CHECKING:` says where its public names are."""

    def load(name: str) -> Any:
        if name.startswith("__") or name not in _homes(room):
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        value = getattr(import_module(_homes(room)[name]), name)
        setattr(sys.modules[room], name, value)
        return value

    return load, lambda: sorted(_homes(room))


@cache
def _homes(room: str) -> dict[str, str]:
    """Public name to the module that it is defined in, as type checkers read it."""
    tree = ast.parse(inspect.getsource(sys.modules[room]))
    for_checkers = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in for_checkers.body if isinstance(node, ast.ImportFrom)]
    return {name.name: str(node.module) for node in imports for name in node.names}
