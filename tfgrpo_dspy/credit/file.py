"""Measured effects on disk: `library.effects.json` beside `library.json`, one entry a line, diffable by git."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.effects import Effect

FORMAT = "tfgrpo-effects"
VERSION = 1
_DIGITS = 6


def effects_path(library: str | os.PathLike[str]) -> Path:
    """Where the effects of a library file are: `library.effects.json` for `library.json`."""
    path = Path(library)
    return path.with_name(f"{path.stem}.effects.json")


def dump_effects(effects: Iterable[Effect]) -> str:
    """The effects as JSON text, numbers to six decimals."""
    lines = ",\n".join(f"    {json.dumps(_plain(effect), ensure_ascii=False)}" for effect in effects)
    return f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n  "effects": [\n{lines}\n  ]\n}}\n'


def parse_effects(text: str, *, source: str = "<text>") -> tuple[Effect, ...]:
    """The effects of a text written by `dump_effects`.

    Raises:
        LibraryFormatError: It is another document, another version, or a field is wrong.
    """
    try:
        document = json.loads(text)
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            raise LibraryFormatError(
                f"{source} is no {FORMAT} document of version {VERSION}; compile again to make one"
            )
        return TypeAdapter(tuple[Effect, ...]).validate_python(document["effects"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise LibraryFormatError(
            f"{source} holds no measured effects ({type(error).__name__}: {error}); compile again with dropout above 0"
        ) from error


def save_effects(effects: Iterable[Effect], library: str | os.PathLike[str]) -> None:
    """Write the effects of a library file beside it; without any, those of an earlier library are taken away.

    Raises:
        OSError: The file cannot be written.
    """
    measured, path = tuple(effects), effects_path(library)
    if measured:
        write_atomically(dump_effects(measured), path)
    else:
        path.unlink(missing_ok=True)


def load_effects(path: str | os.PathLike[str], library: ExperienceLibrary) -> dict[str, Effect]:
    """What was measured of the texts that a library file has now, by id; empty if nothing was.

    Raises:
        LibraryFormatError: The file is damaged.
        OSError: It cannot be read.
    """
    beside = effects_path(path)
    if not beside.exists():
        return {}
    texts = {e.id: e.text for e in library}
    measured = parse_effects(beside.read_text(encoding="utf-8"), source=str(beside))
    return {effect.id: effect for effect in measured if texts.get(effect.id) == effect.text}


def _plain(effect: Effect) -> dict[str, Any]:
    values = {field.name: getattr(effect, field.name) for field in fields(effect)}
    return {name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in values.items()}
