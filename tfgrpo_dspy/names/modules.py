"""Modules by the names that they have in a clone of this project.

The folders beside the library (agents, line-up, evaluations) are top-level packages there; a wheel carries them inside
of `tfgrpo_dspy` (`hatch_build.py`). Whoever names one of their modules finds it in either place.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def find_module(name: str, *, ours: bool = False) -> ModuleType:
    """The module of a name such as `evals.verifiers`: at the top, else inside of `tfgrpo_dspy`.

    Args:
        name: Of the module.
        ours: Whether it is to be looked for inside of `tfgrpo_dspy` first, so that no package of the user's hides it.

    Raises:
        ModuleNotFoundError: It is in neither place; or it is, and something that it imports is missing.
    """
    for place in sorted((name, f"tfgrpo_dspy.{name}"), key=len, reverse=ours):
        try:
            return import_module(place)
        except ModuleNotFoundError as error:
            if not is_about(error, place):
                raise
    raise ModuleNotFoundError(f"there is no module {name}", name=name)


def is_about(error: ModuleNotFoundError, name: str) -> bool:
    """Whether it is the module itself that was not found, or a package that it is in."""
    return error.name is not None and f"{name}.".startswith(f"{error.name}.")
