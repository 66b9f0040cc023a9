"""How a setting is declared: once, beside its name, type and default. All that speaks of settings reads it there.

    @dataclass(frozen=True, kw_only=True)
    class MethodSettings:
        epochs: int = setting(3, "Passes over the trainset.", at_least(1), source=PAPER)

makes the check, the sentence of an error, the keyword's documentation, the option of the command line, the line in a
recipe and the parameter in MLflow. In a sentence, and in every error about settings, what is Python stands between
backticks (`epochs`, `hedge=0.05`, `None`): the command line spells that its own way.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, wraps
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from tfgrpo_dspy.errors import SettingsError

Value = TypeVar("Value")
Documented = TypeVar("Documented", bound=Callable[..., Any])
Keywords = ParamSpec("Keywords")

PAPER, AUTHORS, OURS = "paper", "authors' code", "ours"
"""Where a default comes from."""
GROUPS = {
    "data": "the examples, and how answers are scored",
    "models": "keys come from the environment, e.g. OPENAI_API_KEY",
    "method": "what is learned from, and how: part of a run's identity",
    "safeguards": "what must be shown before something enters the library or is returned: part of a run's identity",
    "limits": "where a run ends early",
    "endpoint": "how calls are made and what becomes of slow ones",
    "records": "what a run leaves behind and shows",
}
"""The groups of settings in their order, with what each is about."""
_METADATA = "setting"
_WORDS = {int: "a whole number", float: "a number", bool: "`True` or `False`", str: "a text", Path: "a path"}


@dataclass(frozen=True, slots=True)
class Fits:
    """What a value must be besides of its type."""

    text: str
    """Said after the type, e.g. `>= 1`; of a type that has no words of its own, in place of it."""
    holds: Callable[[Any], bool]


def at_least(least: float) -> Fits:
    """Numbers from `least` on."""
    return Fits(f">= {least:,}".replace(",", "_"), lambda value: value >= least)


def above(least: float) -> Fits:
    """Numbers beyond `least`."""
    return Fits(f"> {least}", lambda value: value > least)


def share(*, may_be_all: bool) -> Fits:
    """Numbers from 0 to 1, with or without 1 itself."""
    return Fits(
        f">= 0 and {'<=' if may_be_all else '<'} 1", lambda value: 0 <= value < 1 or (may_be_all and value == 1)
    )


def like(text: str, *kinds: type, where: Callable[[Any], bool] | None = None) -> Fits:
    """Objects of certain classes, or of which something holds; the text says what, with an example."""
    return Fits(text, lambda value: isinstance(value, kinds) or (where is not None and where(value)))


@dataclass(frozen=True, slots=True)
class Setting:
    """All that is known of one setting."""

    sentence: str
    fits: Fits | None
    source: str
    """Where the default comes from."""
    why: str
    """What an error adds, in place of the sentence."""
    common: bool
    """Whether most runs need to think of it."""
    param: Callable[[Any], object] | None
    """What records hold in place of the value."""
    read: Callable[[str], Any] | None
    """Makes a value of a text, where its type does not say how."""
    metavar: str
    """What stands for the value in a command line's help."""
    group: str
    name: str = ""
    type: Any = None
    """As annotated; `None` in it is told by `is_optional`."""
    default: Any = None

    @property
    def is_optional(self) -> bool:
        """Whether `None` is a value."""
        return type(None) in _parts(self.type)

    @property
    def kind(self) -> Any:
        """The type without `None`."""
        left = [part for part in _parts(self.type) if part is not type(None)]
        return left[0] if len(left) == 1 else Union[tuple(left)]  # noqa: UP007 - of as many as there are

    @property
    def is_list(self) -> bool:
        """Whether it takes several texts."""
        return _item(self.kind) is str or get_origin(_item(self.kind)) is Literal

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it takes, each of them if it takes several; empty for any other kind."""
        kind = _item(self.kind) if self.is_list else self.kind
        return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()

    @property
    def is_plain(self) -> bool:
        """Whether its type says how its values are written: numbers, truth, texts, paths, words and lists of these."""
        return self.kind in _WORDS or bool(self.choices) or self.is_list or self.kind is Path

    @property
    def is_written(self) -> bool:
        """Whether its values can be written down at all, e.g. on a command line."""
        return self.is_plain or self.read is not None

    @property
    def expected(self) -> str:
        """What it must be, for an error or a table."""
        quoted = [f'`"{choice}"`' for choice in self.choices]
        words = " or ".join(quoted) or _WORDS.get(self.kind, "")
        if self.is_list:
            words = f"a list of any of {', '.join(quoted)}" if quoted else "a list of texts"
        said = f"{words} {self.fits.text if self.fits else ''}".strip()
        return f"{said}{'' if self.is_plain else ','} or `None`" if self.is_optional else said

    @property
    def default_text(self) -> str:
        """The default as it is written in Python; of an object the call that makes it."""
        if self.default is None or isinstance(self.default, str | int | float | tuple):
            return repr(self.default)
        return str(self.default) if self.kind is Path else f"{type(self.default).__name__}()"

    def check(self, value: object) -> None:
        """Raises `SettingsError` if it cannot have this value."""
        if value is None and self.is_optional:
            return
        if not _is_of(self.kind, value) or (self.fits is not None and not self.fits.holds(value)):
            kind = value if isinstance(value, type) else type(value)
            shown = repr(value) if isinstance(value, str | int | float | list | tuple | None) else kind.__name__
            why = f"write {[value]!r} for that one" if self.is_list and isinstance(value, str) else self.why
            raise SettingsError(f"`{self.name}` must be {self.expected}, got {shown}: {why or self.briefly}")

    def shown(self, value: Any) -> object:
        """What records hold of a value."""
        return value if self.param is None else self.param(value)

    @property
    def briefly(self) -> str:
        """The first sentence, to be said after a colon."""
        first = self.sentence.partition(". ")[0].rstrip(".")
        return first if first[1:2].isupper() else f"{first[:1].lower()}{first[1:]}"


def setting(  # noqa: PLR0913 - one keyword per fact
    default: Value,
    sentence: str,
    fits: Fits | None = None,
    *,
    source: str = OURS,
    why: str = "",
    common: bool = False,
    param: Callable[[Any], object] | None = None,
    read: Callable[[str], Any] | None = None,
    metavar: str = "",
    group: str = "",
) -> Value:
    """A field of a frozen dataclass that is a setting; see `Setting` for what each argument is.

    Its group is that of the dataclass, its attribute `group`, unless it is given here.
    """
    declared = Setting(sentence, fits, source, why, common, param, read, metavar, group)
    return field(default=default, metadata={_METADATA: declared})


def settings_of(*declaring: type[Any]) -> Mapping[str, Setting]:
    """Name to setting, of one or several classes, by groups and within a group as they are declared."""
    found = [one for cls in declaring for one in _declared_by(cls)]  # type: ignore[arg-type]  # mypy doubts that classes can be hashed
    order = list(GROUPS)
    return {one.name: one for one in sorted(found, key=lambda one: order.index(one.group))}


def those_of(declaring: type[Any], given: Mapping[str, Value]) -> dict[str, Value]:
    """What of the given is a setting of that class."""
    declared = settings_of(declaring)
    return {name: value for name, value in given.items() if name in declared}


def check_settings(made: object) -> None:
    """Raises `SettingsError` for the first setting of a dataclass that is out of its range; its lists become tuples."""
    for one in settings_of(type(made)).values():
        value = getattr(made, one.name)
        one.check(value)
        if one.is_list and value is not None:
            object.__setattr__(made, one.name, tuple(value))


def unknown(name: str, known: Iterable[str]) -> SettingsError:
    """The error for a setting that there is not, with the one that may be meant."""
    names = list(known)
    similar = difflib.get_close_matches(name, names, n=1) or [one for one in names if name in one or one in name]
    meant = f"did you mean `{similar[0]}`?" if similar else f"there are: {', '.join(names)}"
    return SettingsError(f"there is no setting {name!r}; {meant}")


def documented(*declaring: type[Any]) -> Callable[[Documented], Documented]:
    """Put what is declared of its keywords into the documentation of a class or function, by groups."""

    def decorate(thing: Documented) -> Documented:
        text = inspect.cleandoc(thing.__doc__ or "")
        taken = [name for name in inspect.signature(thing).parameters if f"\n    {name}: " not in text]
        told = [one for one in settings_of(*declaring).values() if one.name in taken]
        before, end, after = re.split(r"(\n\n)(?=Returns:|Raises:)|$", text, maxsplit=1)
        thing.__doc__ = f"{before}\n{_told(told)}{end or ''}{after}"
        return thing

    return decorate


def noting_given(
    init: Callable[Concatenate[Any, Keywords], None],
) -> Callable[Concatenate[Any, Keywords], None]:
    """A constructor that first sets `self.given`: the keywords that its caller wrote, apart from those left out."""
    known = inspect.signature(init).parameters

    @wraps(init)
    def noted(self: Any, /, *args: Keywords.args, **keywords: Keywords.kwargs) -> None:
        for name in keywords.keys() - known.keys():
            raise unknown(name, known)
        self.given = keywords
        init(self, *args, **keywords)

    return noted


@cache
def _declared_by(cls: type[Any]) -> tuple[Setting, ...]:
    kinds = get_type_hints(cls)
    declared = [(one, one.metadata[_METADATA]) for one in fields(cls) if _METADATA in one.metadata]
    return tuple(
        replace(
            made,
            name=one.name,
            type=kinds[one.name],
            default=one.default,
            group=made.group or _declaring(cls, one.name).group,
        )
        for one, made in declared
    )


def _declaring(cls: type, name: str) -> Any:
    """The class among a class and its bases that has a field of its own with that name."""
    return next(base for base in cls.__mro__ if name in inspect.get_annotations(base))


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _item(kind: Any) -> Any:
    """The type of what a sequence holds; None for what is none."""
    return get_args(kind)[0] if get_origin(kind) in (Sequence, tuple, list) else None


def _is_of(kind: Any, value: Any) -> bool:
    """Whether a value is of a type that has words of its own; of any other, `Fits` says it."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if (item := _item(kind)) is not None:
        return isinstance(value, list | tuple) and all(_is_of(item, one) for one in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return kind not in _WORDS or (isinstance(value, kind) and not (kind is int and isinstance(value, bool)))


def _told(told: Sequence[Setting]) -> str:
    lines = []
    for group in dict.fromkeys(one.group for one in told):
        lines += ["", f"{group.capitalize()}: {GROUPS[group]}."]
        lines += [_line(one) for one in told if one.group == group]
    return "\n".join(lines)


def _line(one: Setting) -> str:
    text = f"{one.name}: {one.sentence} ({one.expected}; default {one.default_text}, {one.source})"
    return textwrap.fill(text, 116, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False)
