"""What other distributions bring, by entry points: optimizers, tasks, library formats and rewards, each by its name.

Looking up names loads nothing; a plug-in is loaded when it is asked for. See `docs/extending.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias

from tfgrpo_dspy.errors import SettingsError

Kind: TypeAlias = Literal["optimizers", "tasks", "formats", "rewards"]


def plugins(kind: Kind) -> Mapping[str, EntryPoint]:
    """Name to what stands behind it; of two distributions with one name, the first that is found."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"tfgrpo_dspy.{kind}"):
        found.setdefault(point.name, point)
    return found


def load_plugin(kind: Kind, name: str) -> Any:
    """What the plug-in of that name is.

    Raises:
        SettingsError: There is none, or it cannot be loaded; the message says whose it is.
    """
    point = plugins(kind).get(name)
    if point is None:
        raise SettingsError(f"no distribution brings {name!r} among its tfgrpo_dspy.{kind}")
    try:
        return point.load()
    except Exception as error:
        owner = point.dist.name if point.dist is not None else "a distribution"
        raise SettingsError(
            f"{name!r} of {owner} ({point.value}) cannot be loaded: {type(error).__name__}: {error}; update or "
            "uninstall it"
        ) from error
