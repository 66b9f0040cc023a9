"""Commands that take their options as one frozen value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

import typer

Options = TypeVar("Options")


def taking(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command of a function that takes one value: the fields of its class become arguments and options."""

    def decorate(run: Callable[[Options], None]) -> Callable[..., None]:
        hints = get_type_hints(options, include_extras=True)

        def command(**values: Any) -> None:
            run(options(**values))

        command.__doc__, command.__name__ = run.__doc__, run.__name__
        command.__annotations__ = hints
        parameters = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f), annotation=hints[f.name])
            for f in fields(options)  # type: ignore[arg-type]
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default


def option(*names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    """An option under a heading of the help, without a default to show."""
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False)
