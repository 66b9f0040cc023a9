"""What a command line says, as one frozen value whose class declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from tfgrpo_dspy.cli.options.reading import read
from tfgrpo_dspy.declaration import GROUPS, Setting, check_settings, settings_of, those_of
from tfgrpo_dspy.errors import SettingsError

WORDS = "program_options"
"""The setting that holds what was typed and is no option of the command."""


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
