"""Commands that take their options as one frozen value, whose class declares them.

A field that is a `setting`, and each setting of the classes that `takes` names, becomes an option; those that most runs
need are shown by `--help`, all by `--help-all`, and each can be given as `--set name=value` too.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from tfgrpo_dspy.cli.options.reading import pairs_of, read
from tfgrpo_dspy.cli.options.spelling import option_of, spelled, text_of
from tfgrpo_dspy.declaration import GROUPS, Setting, settings_of, those_of

Options = TypeVar("Options")
_ALL = "tfgrpo_dspy.help_all"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a command line says, of a command with settings."""

    takes: ClassVar[tuple[type[Any], ...]] = ()
    """Classes whose settings are options too, where they can be written down."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """Settings that are given by their place."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of `takes` that were given."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """All settings that were given, as they were written."""

    @classmethod
    def known(cls) -> dict[str, Setting]:
        """All settings of the command by name; its own stand for those of the same name that cannot be written down."""
        written = {name: one for name, one in settings_of(*cls.takes).items() if one.is_written}
        found = {**written, **settings_of(cls)}
        return dict(sorted(found.items(), key=lambda item: list(GROUPS).index(item[1].group)))

    @classmethod
    def asked(cls, written: Mapping[str, Any], **more: Any) -> Self:
        """What is said by settings as they were written.

        Raises:
            SettingsError: A setting cannot have its value.
        """
        known = cls.known()
        values = {name: read(known[name], value) for name, value in written.items()}
        own = those_of(cls, values)
        settings = {name: value for name, value in values.items() if name not in own}
        return cls(**own, **more, settings=settings, written=written)


class SettingsCommand(TyperCommand):
    """A command whose `--help` shows the options that most runs need, and `--help-all` all of them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters; nothing is hidden when all are asked for."""
        found: list[Any] = [copy.copy(parameter) for parameter in super().get_params(ctx)]
        for parameter in found if ctx.meta.get(_ALL) else ():
            parameter.hidden = getattr(parameter, "name", None) == "program_options"
        return found


def taking(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command of a function that takes one value: the fields of its class become arguments and options."""

    def decorate(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**typed: Any) -> None:
            run(_asked(options, typed))

        parameters = list(_parameters(options))
        command.__doc__, command.__name__ = run.__doc__, run.__name__
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def option(*names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    """An option under a heading of the help, without a default to show."""
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False)


def _asked(options: type[Options], typed: Mapping[str, Any]) -> Options:
    if not issubclass(options, Taken):
        return options(**typed)
    known = options.known()
    written = {name: value for name, value in typed.items() if name in known and value is not None}
    written |= pairs_of(typed.get("set_") or (), known)
    return options.asked(written, **{name: typed[name] for name in ("program_options",) if name in typed})


def _parameters(options: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(options, include_extras=True)
    known = options.known() if issubclass(options, Taken) else {}
    for each in fields(options):
        if each.name not in known and hasattr(hints[each.name], "__metadata__"):
            yield _parameter(each.name, hints[each.name], _default(each))
    if not known:
        return
    names = {option_of(name) for name in known}
    for name in options.arguments:
        told = typer.Argument(metavar=name.upper(), help=spelled(known[name].sentence, names), show_default=False)
        yield _parameter(name, Annotated[str | None, told])
    for name, one in known.items():
        if name not in options.arguments:
            yield _parameter(name, _annotation(one, names))
    yield _parameter("set_", Annotated[list[str] | None, _SET])
    yield _parameter("help_all", Annotated[bool, _HELP_ALL], False)


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _default(each: Field[Any]) -> Any:
    return inspect.Parameter.empty if each.default is MISSING else each.default


def _annotation(one: Setting, names: set[str]) -> Any:
    flag = option_of(one.name)
    flag += f"/--no{flag[1:]}" if one.kind is bool else ""
    is_said = one.default is None or one.default is False or one.default == ()
    default = "" if is_said else f" Default: {text_of(one.default)}."
    told = typer.Option(
        flag,
        help=spelled(one.sentence, names) + default,
        metavar=None if one.kind is bool else one.metavar or _metavar(one),
        rich_help_panel=_panel(one.group),
        hidden=not one.common,
        show_default=False,
    )
    kind: Any = bool if one.kind is bool else list[str] if one.is_list else str
    return Annotated[kind | None, told]


def _metavar(one: Setting) -> str:
    return "|".join(one.choices) or {int: "N", float: "X"}.get(one.kind, "TEXT")


def _panel(group: str) -> str:
    return f"{group.capitalize()}: {GROUPS[group]}"


def _show_all(ctx: typer.Context, asked: bool) -> None:
    if asked:
        ctx.meta[_ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


_SET = typer.Option("--set", metavar="NAME=VALUE", help="Any setting by its name in Python; repeatable.")
_HELP_ALL = typer.Option(
    "--help-all", is_eager=True, callback=_show_all, help="Show every option, not only those that most runs need."
)
