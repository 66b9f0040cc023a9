"""What can go wrong for a model that browses: an observation, not a lost rollout."""

from __future__ import annotations

from types import ModuleType

from tfgrpo_dspy import MissingExtraError

__all__ = ["WebError", "optional"]


class WebError(Exception):
    """A page cannot be shown or a query not be answered; the message tells the model what to do instead.

    Attributes:
        status: The HTTP status, if that was the reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def optional(module: str, purpose: str) -> ModuleType:
    """A module of the `web` extra.

    Raises:
        MissingExtraError: It is not installed.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{purpose} needs {module}: pip install 'tfgrpo-dspy[web]'") from error
