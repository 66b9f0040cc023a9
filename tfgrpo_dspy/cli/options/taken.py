"""What a command line says, as one frozen value whose class declares it, and how its texts are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from tfgrpo_dspy.declaration import GROUPS, Setting, check_settings, settings_of, those_of, unknown
from tfgrpo_dspy.errors import SettingsError

WORDS = "program_options"
"""The setting that holds what was typed and is no option of the command."""
NONE = ("none", "null")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a command line says, of a command with settings."""

    takes: ClassVar[tuple[type[Any], ...]] = ()
    """Classes whose settings are options too, where they can be written down."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """Settings that are given by their place."""

    moment: ClassVar[type[Any] | None] = None
    """A class whose settings are wanted of one command only, and are no part of a run; with it there is `--recipe`."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of `takes` that were given."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """All settings that were given, as they were written."""

    def __post_init__(self) -> None:
        check_settings(self)

    @classmethod
    def known(cls) -> dict[str, Setting]:
        """All settings of the command by name; its own stand for those of the same name that cannot be written down."""
        written = {name: one for name, one in settings_of(*cls.takes).items() if one.is_written}
        found = {**written, **settings_of(cls)}
        order = list(GROUPS)
        return dict(sorted(found.items(), key=lambda item: (order.index(item[1].group), item[0] not in cls.arguments)))

    @classmethod
    def repeated(cls) -> dict[str, Setting]:
        """Those that a recipe holds."""
        left_out = settings_of(cls.moment) if cls.moment is not None else {}
        return {name: one for name, one in cls.known().items() if name not in left_out}

    @classmethod
    def asked(cls, written: Mapping[str, Any]) -> Self:
        """What is said by settings as they were written.

        Raises:
            SettingsError: A setting cannot have its value, or one that is given by its place is missing.
        """
        known = cls.known()
        values = {name: read(known[name], value) for name, value in written.items()}
        own = those_of(cls, values)
        settings = {name: value for name, value in values.items() if name not in own}
        for name in cls.arguments:
            if not own.get(name):
                raise SettingsError(f"there is no {name.upper()}: name it, on the command line or in a recipe")
        return cls(**own, settings=settings, written=written)


def read(one: Setting, written: Any) -> Any:
    """The value that a text stands for, or a value of a YAML file.

    Raises:
        SettingsError: The setting cannot have it.
    """
    if isinstance(written, str) and one.is_optional and written.strip().lower() in NONE:
        return None
    if written is None or (one.read is None and not isinstance(written, str)):
        one.check(written)
        return written
    text = str(written)
    try:
        if one.read is not None:
            return one.read(text)
        value = _value(one, text)
    except (ValueError, KeyError) as error:
        if isinstance(error, SettingsError):
            raise
        expected = f"written {one.metavar}" if one.read is not None else one.expected
        raise SettingsError(f"`{one.name}` must be {expected}, got {text!r}: {one.why or one.briefly}") from error
    one.check(value)
    return value


def _value(one: Setting, text: str) -> Any:
    if one.is_list:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if one.kind is bool:
        return _TRUTH[text.strip().lower()]
    return one.kind(text) if one.kind in (int, float, Path) else text


def pairs_of(texts: Iterable[str], known: Mapping[str, Setting]) -> dict[str, str]:
    """`epochs=2` as name and text, of each.

    Raises:
        SettingsError: There is no setting of that name, or no value.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known:
            raise unknown(name, known)
        if not equals:
            raise SettingsError(f"--set is written name=value, e.g. {name}={known[name].default_text}, got {text!r}")
        found[name] = value.strip()
    return found
