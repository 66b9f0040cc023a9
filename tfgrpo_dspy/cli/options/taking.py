"""Commands that take their options as one frozen value, whose class declares them.

A field that is a `setting`, and each setting of the classes that `takes` names, becomes an option; those that most runs
need are shown by `--help`, all by `--help-all`, and each can be given as `--set name=value` too.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from tfgrpo_dspy.cli.options.recipe import Recipe, read_recipe
from tfgrpo_dspy.cli.options.spelling import option_of, spelled, text_of
from tfgrpo_dspy.cli.options.taken import WORDS, Taken, pairs_of
from tfgrpo_dspy.declaration import GROUPS, Setting
from tfgrpo_dspy.errors import SettingsError

Options = TypeVar("Options")
_ALL = "tfgrpo_dspy.help_all"


class SettingsCommand(TyperCommand):
    """A command whose `--help` shows the options that most runs need, and `--help-all` all of them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters; nothing is hidden when all are asked for."""
        found: list[Any] = [copy.copy(parameter) for parameter in super().get_params(ctx)]
        for parameter in found if ctx.meta.get(_ALL) else ():
            parameter.hidden = parameter.name == WORDS
        return found


def taking(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command of a function that takes one value: the fields of its class become arguments and options."""

    def decorate(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**typed: Any) -> None:
            if not issubclass(options, Taken):
                run(options(**{name: value for name, value in typed.items() if (name, value) != (WORDS, None)}))
                return
            known, path = options.known(), typed.get("recipe")
            given = {name: value for name, value in typed.items() if name in known and value not in (None, [])}
            given |= pairs_of(typed.get("set_") or (), known)
            recipe = read_recipe(Path(path), options.repeated()) if path is not None else Recipe()
            try:
                run(options.asked({**recipe.beside(given), **given}))
            except SettingsError as error:
                recipe.place(error, given)
                raise

        parameters = list(_parameters(options))
        command.__doc__, command.__name__ = run.__doc__, run.__name__
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def option(*names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    """An option under a heading of the help, without a default to show."""
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False)


def _parameters(options: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(options, include_extras=True)
    for each in fields(options):
        if hasattr(hints[each.name], "__metadata__"):
            default = inspect.Parameter.empty if each.default is MISSING else each.default
            yield _parameter(each.name, hints[each.name], default)
        elif each.name == WORDS:  # set by the command, never typed
            yield _parameter(WORDS, Annotated[list[str] | None, typer.Option(hidden=True)])
    if issubclass(options, Taken):
        yield from _declared(options)


def _declared(options: type[Taken]) -> Iterator[inspect.Parameter]:
    names = {option_of(name) for name in options.known()}
    for name, one in options.known().items():
        if name in options.arguments:
            told = typer.Argument(metavar=name.upper(), help=spelled(one.sentence, names), show_default=False)
            yield _parameter(name, Annotated[str | None, told])
        elif name != WORDS:
            yield _parameter(name, _annotation(one, names))
    if options.moment is not None:
        yield _parameter("recipe", Annotated[str | None, _RECIPE])
    yield _parameter("set_", Annotated[list[str] | None, _SET])
    yield _parameter("help_all", Annotated[bool, _HELP_ALL], False)


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _annotation(one: Setting, names: set[str]) -> Any:
    flag = option_of(one.name)
    flag += f"/--no{flag[1:]}" if one.kind is bool else ""
    is_said = one.default is None or one.default is False or one.default == ()
    default = "" if is_said else f" Default: {text_of(one.default)}."
    metavar = one.metavar or "|".join(one.choices) or {int: "N", float: "X"}.get(one.kind, "TEXT")
    told = typer.Option(
        flag,
        help=spelled(one.sentence, names) + default,
        metavar=metavar if one.kind is not bool else None,
        rich_help_panel=f"{one.group.capitalize()}: {GROUPS[one.group]}",
        hidden=not one.common,
        show_default=False,
    )
    kind: Any = bool if one.kind is bool else list[str] if one.is_list else str
    return Annotated[kind | None, told]


def _show_all(ctx: typer.Context, asked: bool) -> None:
    if asked:
        ctx.meta[_ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


_RECIPE = typer.Option(
    "--recipe", metavar="FILE", help="All of this from a file, e.g. one that a run has left; what is typed wins."
)
_SET = typer.Option("--set", metavar="NAME=VALUE", help="Any setting by its name in Python; repeatable.")
_HELP_ALL = typer.Option(
    "--help-all", is_eager=True, callback=_show_all, help="Show every option, not only those that most runs need."
)
