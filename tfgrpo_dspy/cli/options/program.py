"""Options that a program declares, not the command: keyword parameters of the function that makes it.

    tfgrpo compile programs.web:react train.jsonl --search local --limit 5

`--limit` is the command's own, `--search` is none of its options: it becomes the argument `search="local"` of
`programs.web.react`. Words that follow TRAINSET are kept as they were typed, so that a recipe can repeat them.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from tfgrpo_dspy.cli.options.taken import WORDS
from tfgrpo_dspy.cli.options.taking import SettingsCommand
from tfgrpo_dspy.declaration import setting
from tfgrpo_dspy.errors import SettingsError

ACCEPTED = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Context settings of a command whose class is `TakesProgramOptions`."""

_SECRET = re.compile(r"--+(?:[^=]*[-_])?(?:key|token|secret|password|auth)(?:=|$)", re.IGNORECASE)
_SIMPLE = (str, int, float, bool)
_LISTS = (list, tuple, Iterable, Sequence)
_HELP = re.compile(r"^ {4,12}(\w+): (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ProgramOptions:
    """What was typed that is no option of the command."""

    program_options: Sequence[str] = setting(
        (), "Options of the function that makes the program, as they are typed after TRAINSET.", group="data"
    )


class UnknownOption(SettingsError):
    """Neither the command nor the program has the option.

    Attributes:
        option: As it was typed.
    """

    def __init__(self, option: str, reference: str, takes: str) -> None:
        super().__init__(f"neither tfgrpo nor {reference} has the option {option}; {reference} takes {takes or 'none'}")
        self.option = option.partition(" ")[0].partition("=")[0]


class TakesProgramOptions(SettingsCommand):
    """A command that keeps what it does not know as `program_options`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; the rest is for the program."""
        super().parse_args(ctx, args)
        places = [parameter.name or "" for parameter in self.params if parameter.param_type_name == "argument"]
        for name in places:
            given = ctx.params.get(name)
            if given is None and not ctx.params.get("recipe"):
                ctx.fail(f"Missing argument '{name.upper()}'.")
            if not (isinstance(given, str) and given.startswith("-") and given != "-"):  # which is standard input
                continue
            if ctx.params.get("recipe"):
                ctx.args = [ctx.params[place] for place in places[places.index(name) :] if ctx.params[place]] + ctx.args
                ctx.params.update(dict.fromkeys(places[places.index(name) :]))
                break  # the recipe names what is given by its place, so these are words for the program
            needed = " and ".join(place.upper() for place in places)
            ctx.fail(f"{given} is no option of {ctx.info_name}; options of a program of yours follow {needed}")
        ctx.params[WORDS] = list(ctx.args)
        ctx.args = []
        return []

    def invoke(self, ctx: Any) -> Any:
        """Run the command; of an option that nobody has, say which of its own it resembles."""
        try:
            return super().invoke(ctx)
        except UnknownOption as error:
            own = [name for parameter in self.params for name in parameter.opts if name.startswith("--")]
            if similar := difflib.get_close_matches(error.option, own, n=1):
                raise SettingsError(f"{error}; did you mean {similar[0]}?") from error
            raise


def arguments_of(make: Callable[..., Any], given: Sequence[str], reference: str) -> dict[str, Any]:
    """The arguments that words like `--search local --robots` give to a function or class.

    Parameters of type str, int, float, bool or a sequence of strings become options.

    Raises:
        SettingsError: It declares no such option, or the value is of another type; the message lists its options.
    """
    if not given:
        return {}
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.reference, parser.told = reference, _told(make)
    for name, kind in _kinds_of(make).items():
        action: dict[str, Any] = {"action": "append"} if kind is list else {"type": kind}
        action = {"action": argparse.BooleanOptionalAction} if kind is bool else action
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, **action)
    if secret := next((word for word in given if _SECRET.match(word)), None):
        raise SettingsError(
            f"{secret.partition('=')[0]} looks like a secret, which would be recorded; use the environment"
        )
    return vars(parser.parse_args(list(given)))


class _Parser(argparse.ArgumentParser):
    reference = ""
    told = ""

    def error(self, message: str) -> NoReturn:
        words = message.removeprefix("unrecognized arguments: ")
        if words != message:
            raise UnknownOption(words, self.reference, self.told)
        raise SettingsError(f"{message}; {self.reference} takes {self.told or 'none'}")


def _kinds_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Name to type of each parameter that a command line can give."""
    try:
        parameters = inspect.signature(make).parameters.values()
        hints = get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]
    except (TypeError, ValueError, NameError):
        return {}
    usable = (p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))
    kinds = {p.name: _kind(hints.get(p.name, str)) for p in usable}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _kind(hint: Any) -> Any:
    """str, int, float, bool, or list for several strings; None for what cannot be typed."""
    if get_origin(hint) in (Union, types.UnionType):
        left = [part for part in get_args(hint) if part is not type(None)]
        kinds = [_kind(part) for part in left]
        return str if str in kinds else next((kind for kind in kinds if kind is not None), None)
    if hint in _SIMPLE:
        return hint
    return list if get_args(hint)[:1] == (str,) and get_origin(hint) in _LISTS else None


def _told(make: Callable[..., Any]) -> str:
    helps = dict(_HELP.findall(inspect.getdoc(make) or ""))
    options = []
    for name, kind in _kinds_of(make).items():
        word = "" if kind is bool else " TEXT" if kind in (str, list) else f" {kind.__name__.upper()}"
        about = f" ({helps[name].rstrip('.')})" if name in helps else ""
        options.append(f"--{name.replace('_', '-')}{word}{about}")
    return ", ".join(options)
