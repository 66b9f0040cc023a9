"""The library on disk: versioned JSON that people can read and git can diff, and two forms for people only.

Loading executes nothing: JSON in, checked against the models below, values out. What does not fit is refused with
the file and the field, never mended by guessing.
"""

from __future__ import annotations

import gc
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.library import (
    Author,
    Circumstances,
    Experience,
    ExperienceLibrary,
    Provenance,
    Source,
    id_number,
)
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.text import counted, one_line

HEADING = "# Experience library"


def dump_library(library: ExperienceLibrary) -> str:
    """The library as JSON text: indented, in library order, a line break at the end; exact under `parse_library`."""
    text = f"""{{
  "format": "{FORMAT}",
  "version": {VERSION},
  "next_id": {library.next_id},
  "learned_with": {_list_text(map(_quoted, library.learned_with), 2)},{_about(library)}
  "experiences": {_list_text(map(_experience_text, library), 2)}
}}
"""
    try:
        text.encode()
    except UnicodeEncodeError:  # UTF-8 has no form for a lone surrogate, JSON's escapes do
        return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match.group()):04x}", text)
    return text


def parse_library(text: str, *, source: str = "<text>") -> ExperienceLibrary:
    """The library of a JSON text written by `dump_library`.

    Args:
        text: The JSON; one written by hand may leave out all but the head, `next_id`, ids and texts.
        source: Name used in error messages, e.g. the file's.

    Raises:
        LibraryFormatError: The text is empty, no JSON, another document, another version, or a field is wrong.
    """
    try:
        with _without_gc():
            read = _DOCUMENT.validate_json(text, strict=True)
        return ExperienceLibrary(read.experiences, read.next_id, read.learned_with, read.domain, read.learned_under)
    except ValueError:
        return read_slowly(text, source)


@contextmanager
def _without_gc() -> Iterator[None]:
    """Spare the garbage collector from looking again and again through values that are all still growing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def save_library(library: ExperienceLibrary, path: str | os.PathLike[str]) -> None:
    """Write the library's JSON; a crash at any instant leaves the old file or the new one, never a part.

    Raises:
        OSError: The folder cannot be made or the file cannot be written.
    """
    write_atomically(dump_library(library), path)


def load_library(path: str | os.PathLike[str]) -> ExperienceLibrary:
    """Read a file written by `save_library`.

    Raises:
        LibraryFormatError: As for `parse_library`, or the file is not UTF-8; the message names file and field.
        OSError: The file cannot be read.
    """
    return parse_library(read_utf8(path), source=Path(path).name)


def to_markdown(library: ExperienceLibrary) -> str:
    r"""The library for a report: heading, a line of figures, then one `- **G7** text` line per experience.

    Characters that Markdown would act on are escaped with a backslash, so that code and web text show as they are;
    `$...$` is left to render as mathematics. Pins, scopes and provenance are not shown.
    """
    count = counted(len(library), "experience")
    learned = f", learned with {', '.join(library.learned_with)}" if library.learned_with else ""
    learned = f"{learned}, domain {_escape(library.domain)}" if library.domain is not None else learned
    lines = [f"- **{e.id}** {_escape(one_line(e.text))}" for e in library]
    body = "\n".join(["", *lines, ""]) if lines else ""
    return f"{HEADING}\n\n{count}, about {library.tokens} tokens{learned}.\n{body}"


def to_text(library: ExperienceLibrary) -> str:
    """The library as the policy reads it: one `[G7] text` line per experience; empty for an empty library."""
    return render_lines(library) + "\n" if len(library) else ""


def unescape_markdown(text: str) -> str:
    r"""The text that `to_markdown` escaped: a backslash before ASCII punctuation is taken away."""
    return re.sub(rf"\\([{_PUNCTUATION}])", r"\1", text)


def read_utf8(path: str | os.PathLike[str]) -> str:
    """A file's text; LibraryFormatError when it is not UTF-8 (a byte order mark is passed over)."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = Path(path).name
        raise LibraryFormatError(f"{name}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def write_atomically(text: str, path: str | os.PathLike[str]) -> None:
    """Write a text file by way of a temporary one beside it; folders on the way are made."""
    target = Path(path).resolve()  # a symbolic link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


_PUNCTUATION = r"!-/:-@\[-`{-~"
_MARKDOWN = re.compile(rf"\\(?=[{_PUNCTUATION}]|$)|[*`<&]|\](?=\()|(?<!\w)_|_(?!\w)|~(?=~)")


def _escape(text: str) -> str:
    return _MARKDOWN.sub(lambda match: "\\" + match.group(), text)


_quoted = json.encoder.encode_basestring


def _list_text(items: Iterable[str], indent: int) -> str:
    """A JSON list as `json.dumps` with an indent of 2 writes it: its C part, which is fast, knows no indent."""
    between = ",\n" + " " * (indent + 2)
    listed = between.join(items)
    return f"[{between[1:]}{listed}\n{' ' * indent}]" if listed else "[]"


def _about(library: ExperienceLibrary) -> str:
    """Lines for what only some libraries have, so that the files of others stay as they are."""
    known = {name: text for name, text in asdict(library.learned_under).items() if text}
    lines = [f'"domain": {_quoted(library.domain)},'] if library.domain is not None else []
    named = ",".join(f"\n    {_quoted(name)}: {_quoted(text)}" for name, text in known.items())
    lines += [f'"learned_under": {{{named}\n  }},'] if known else []
    return "".join(f"\n  {line}" for line in lines)


def _experience_text(e: Experience) -> str:
    origin = e.provenance
    before = f'\n        "origin": {_quoted(origin.origin)},' if origin.origin is not None else ""
    return f"""{{
      "id": {_quoted(e.id)},
      "text": {_quoted(e.text)},
      "pinned": {_json(e.pinned)},
      "scope": {_json(e.scope)},
      "provenance": {{
        "author": {_quoted(origin.author)},
        "created_step": {_json(origin.created_step)},
        "modified_step": {_json(origin.modified_step)},
        "reason": {_quoted(origin.reason)},{before}
        "sources": {_list_text(map(_source_text, origin.sources), 8)}
      }}
    }}"""


def _source_text(source: Source) -> str:
    return f"""{{
            "example": {_quoted(source.example)},
            "rollouts": {_list_text(map(_quoted, source.rollouts), 12)}
          }}"""


def _json(value: str | int | None) -> str:
    return "null" if value is None else _quoted(value) if isinstance(value, str) else str(value).lower()


@dataclass(frozen=True, slots=True)
class _Document:
    """A library's JSON, read straight into the values it is made of."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    format: Literal["tfgrpo-library"]
    version: Annotated[int, Field(ge=VERSION, le=VERSION)]  # a Literal[1] takes true as well
    next_id: Annotated[int, Field(ge=0)]
    experiences: tuple[Experience, ...]
    learned_with: tuple[str, ...] = ()
    domain: str | None = None
    learned_under: Circumstances = field(default_factory=Circumstances)


_DOCUMENT = TypeAdapter(_Document)


FORMAT = "tfgrpo-library"

VERSION = 1


def read_slowly(text: str, source: str) -> ExperienceLibrary:
    """The library of a JSON text, or what is wrong with it.

    Raises:
        LibraryFormatError: As `parse_library`.
    """
    document = _parse_json(text, source)
    _check_header(document, source)
    try:
        parsed = _Library.model_validate(document, strict=True)
    except ValidationError as error:
        raise LibraryFormatError(f"{source}: {_explain(error.errors()[0])}") from error
    _check_ids(parsed, source)
    try:
        return ExperienceLibrary(
            tuple(_experience(e) for e in parsed.experiences),
            parsed.next_id,
            tuple(parsed.learned_with),
            parsed.domain,
            parsed.learned_under,
        )
    except ValueError as error:
        raise LibraryFormatError(f"{source}: {error}") from error


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Source(_Model):
    example: str
    rollouts: list[str] = []


class _Provenance(_Model):
    author: Author = "person"
    created_step: int | None = None
    modified_step: int | None = None
    reason: str = ""
    sources: list[_Source] = []
    origin: str | None = None


class _Experience(_Model):
    id: str
    text: str
    pinned: bool = False
    scope: str | None = None
    provenance: _Provenance = Field(default_factory=_Provenance)


class _Library(_Model):
    format: Literal["tfgrpo-library"]
    version: Literal[1]
    next_id: int = Field(ge=0)
    learned_with: list[str] = []
    domain: str | None = None
    learned_under: Circumstances = Circumstances()
    experiences: list[_Experience]


def _experience(parsed: _Experience) -> Experience:
    origin = parsed.provenance
    sources = tuple(Source(s.example, tuple(s.rollouts)) for s in origin.sources)
    provenance = Provenance(
        origin.author, origin.created_step, origin.modified_step, origin.reason, sources, origin.origin
    )
    return Experience(parsed.id, parsed.text, parsed.pinned, parsed.scope, provenance)


def _parse_json(text: str, source: str) -> object:
    if not text.strip():
        raise LibraryFormatError(f"{source}: the file is empty; expected the JSON of a library")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise LibraryFormatError(
            f"{source}: no valid JSON at {where} ({error.msg}); mend it or restore the file from an earlier version"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise LibraryFormatError(f"{source}: this JSON cannot be a library ({error})") from error


def _check_header(document: object, source: str) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise LibraryFormatError(
            f'{source}: this JSON is no experience library; one is an object that starts with "format": "{FORMAT}"'
        )
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        raise LibraryFormatError(
            f"{source}: version is {version!r}, this package reads version {VERSION}; "
            "a newer tfgrpo-dspy may have written the file"
        )


def _check_ids(parsed: _Library, source: str) -> None:
    first: dict[int, int] = {}
    for index, experience in enumerate(parsed.experiences):
        where = f"{source}: experiences[{index}].id"
        try:
            number = id_number(experience.id)
        except ValueError as error:
            raise LibraryFormatError(f"{where}: {error}") from error
        if number in first:
            other = f"experiences[{first[number]}].id"
            raise LibraryFormatError(f"{where} is {experience.id}, as is {other}; ids are unique")
        first[number] = index
    if first and max(first) >= parsed.next_id:
        raise LibraryFormatError(
            f"{source}: next_id is {parsed.next_id} but there is a G{max(first)}; "
            f"ids are never used again, so it must be at least {max(first) + 1}"
        )


_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "an object",
    "greater_than_equal": "0 or more",
}


def _explain(error: ErrorDetails) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).removeprefix(".")
    if error["type"] == "missing":
        return f"{path} is missing"
    if error["type"] == "extra_forbidden":
        return f"{path} is no field of a version {VERSION} library; take it out"
    expected = _EXPECTED.get(error["type"]) or error.get("ctx", {}).get("expected", "something else")
    return f"{path} must be {expected}, got {_kind(error['input'])}"


def _kind(value: Any) -> str:
    names = {bool: "true or false", str: "a string", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")
