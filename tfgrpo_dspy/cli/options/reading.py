"""Values of settings from texts: of an option, of `--set name=value`, of a line in a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tfgrpo_dspy.declaration import Setting, unknown
from tfgrpo_dspy.errors import SettingsError

NONE = ("none", "null")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


def read(one: Setting, written: Any) -> Any:
    """The value that a text stands for, or a value of a YAML file.

    Raises:
        SettingsError: The setting cannot have it.
    """
    if isinstance(written, str) and one.is_optional and written.strip().lower() in NONE:
        return None
    if one.read is not None and written is not None:
        return _made(one, str(written), one.read)
    value = _made(one, written, _reader_of(one)) if isinstance(written, str) else written
    one.check(value)
    return value


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


def _reader_of(one: Setting) -> Callable[[str], Any]:
    if one.is_list:
        return lambda text: tuple(part.strip() for part in text.split(",") if part.strip())
    if one.kind is bool:
        return lambda text: _TRUTH[text.strip().lower()]
    return one.kind if one.kind in (int, float, Path) else str


def _made(one: Setting, text: str, make: Callable[[str], Any]) -> Any:
    try:
        return make(text)
    except (ValueError, KeyError) as error:
        if isinstance(error, SettingsError):
            raise
        expected = f"written {one.metavar}" if one.read is not None else one.expected
        raise SettingsError(f"`{one.name}` must be {expected}, got {text!r}: {one.why or one.briefly}") from error
