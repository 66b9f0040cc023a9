"""The public names of a room, loaded at their first use, so that importing the room costs next to nothing (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(room: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package.

    Args:
        room: The package, as its `__name__`.
        homes: Module, relative to `tfgrpo_dspy`, to the names that are defined in it, between blanks.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        value = getattr(import_module(f"tfgrpo_dspy.{home_of[name]}"), name)
        setattr(sys.modules[room], name, value)
        return value

    return load, lambda: sorted(home_of)
