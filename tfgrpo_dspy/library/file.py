"""The library on disk: versioned JSON that people can read and git can diff, and two forms for people only.

Loading executes nothing: JSON in, checked against the models below, values out. What does not fit is refused with
the file and the field, never mended by guessing.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import reprlib
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, to_json

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.experience import Circumstances, Experience, id_number
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.text import counted, one_line, whole

FORMAT = "tfgrpo-library"

VERSION = 1

HEADING = "# Experience library"


def dump_library(library: ExperienceLibrary) -> str:
    """The library as JSON text: indented, in library order, a line break at the end; exact under `parse_library`.

    Lone surrogates, which UTF-8 has no form for, become U+FFFD, as in every text that an operation brings.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "next_id": library.next_id,
        "learned_with": library.learned_with,
    }
    if library.domain is not None:  # what only some libraries have leaves the files of others as they are
        document["domain"] = library.domain
    if known := {name: text for name, text in asdict(library.learned_under).items() if text}:
        document["learned_under"] = known
    document["experiences"] = [_told(e) for e in library]
    try:
        return to_json(document, indent=2).decode() + "\n"
    except PydanticSerializationError:
        return whole(json.dumps(document, indent=2, ensure_ascii=False, default=asdict)) + "\n"


def _told(e: Experience) -> dict[str, Any]:
    """An experience as its file tells it; `asdict` takes ten times as long."""
    known = e.provenance
    provenance: dict[str, Any] = {
        "author": known.author,
        "created_step": known.created_step,
        "modified_step": known.modified_step,
        "reason": known.reason,
    }
    if known.origin is not None:
        provenance["origin"] = known.origin
    provenance["sources"] = known.sources
    return {"id": e.id, "text": e.text, "pinned": e.pinned, "scope": e.scope, "provenance": provenance}


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
    except ValidationError as error:
        raise LibraryFormatError(f"{source}: {_fault(error.errors(include_url=False)[0], text)}") from error
    try:
        return ExperienceLibrary(read.experiences, read.next_id, read.learned_with, read.domain, read.learned_under)
    except ValueError as error:
        raise LibraryFormatError(f"{source}: {_fault_of_ids(read) or error}") from error


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
    learned = f"{learned}, domain {escape_markdown(library.domain)}" if library.domain is not None else learned
    body = f"\n{markdown_lines(library)}\n" if len(library) else ""
    return f"{HEADING}\n\n{count}, about {library.tokens} tokens{learned}.\n{body}"


def markdown_lines(experiences: Iterable[Experience]) -> str:
    """One `- **G7** text` line per experience."""
    return "\n".join(f"- **{e.id}** {escape_markdown(one_line(e.text))}" for e in experiences)


def to_text(library: ExperienceLibrary) -> str:
    """The library as the policy reads it: one `[G7] text` line per experience; empty for an empty library."""
    return render_lines(library) + "\n" if len(library) else ""


def escape_markdown(text: str) -> str:
    """The text with a backslash before what Markdown would act on within a line, mathematics excepted."""
    return _MARKDOWN.sub(lambda match: "\\" + match.group(), text)


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
    if target.is_file() and not os.access(target, os.W_OK):  # to replace it asks for no right on it
        raise PermissionError(errno.EACCES, "the file is read-only", str(target))
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.is_file():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


_PUNCTUATION = r"!-/:-@\[-`{-~"
_MARKDOWN = re.compile(rf"\\(?=[{_PUNCTUATION}]|$)|[*`<&]|\](?=\()|(?<!\w)_|_(?!\w)|~(?=~)")


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

_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dataclass_type": "an object",
    "greater_than_equal": "0 or more",
}


def _fault(error: ErrorDetails, text: str) -> str:
    """What pydantic found in a text, as a sentence about the file."""
    kind, loc = error["type"], error["loc"]
    if kind == "json_invalid":
        return _fault_of_json(text, error["ctx"]["error"])
    if loc in {(), ("format",)}:
        return f'this JSON is no experience library; one is an object that starts with "format": "{FORMAT}"'
    if loc == ("version",) and kind != "missing":
        return (
            f"version is {error['input']!r}, this package reads version {VERSION}; "
            "a newer tfgrpo-dspy may have written the file"
        )
    place = _place(loc, text)
    if kind == "missing":
        return f"{place} is missing"
    if kind == "unexpected_keyword_argument":
        return f"{place} is no field of a version {VERSION} library; take it out"
    expected = _EXPECTED.get(kind) or error.get("ctx", {}).get("expected") or f"otherwise ({error['msg']})"
    return f"{place} must be {expected}, got {_shown(error['input'])}"


def _fault_of_json(text: str, said: str) -> str:
    if not text.strip():
        return "the file is empty; expected the JSON of a library"
    problem, line, column = re.fullmatch(r"(.*) at line (\d+) column (\d+)", said, re.DOTALL).groups()  # type: ignore[union-attr]
    before = text.split("\n")[int(line) - 1].encode()[: int(column)].decode(errors="ignore")  # bytes are counted
    return (
        f"no valid JSON at line {line}, column {len(before)} ({problem}); mend it or restore the file from an earlier "
        "version"
    )


def _place(loc: Sequence[int | str], text: str) -> str:
    """`experiences[1].scope of G4`: where in the document, and in which of its entries."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    match loc:
        case ("experiences", int(index), str(name), *_) if name != "id":
            id = json.loads(text)["experiences"][index].get("id")
            return f"{path} of {id}" if isinstance(id, str) else path
    return path


def _shown(value: object) -> str:
    kinds: dict[object, str] = {dict: "an object", list: "a list", bool: str(value).lower(), type(None): "null"}
    return kinds.get(type(value)) or reprlib.repr(value)


def _fault_of_ids(read: _Document) -> str | None:
    """What is wrong with the ids of the entries, if anything is."""
    first: dict[int, int] = {}
    for index, experience in enumerate(read.experiences):
        where = f"experiences[{index}].id"
        try:
            number = id_number(experience.id)
        except ValueError as error:
            return f"{where}: {error}"
        if number in first:
            return f"{where} is {experience.id}, as is experiences[{first[number]}].id; ids are unique"
        first[number] = index
    if first and max(first) >= read.next_id:
        return (
            f"next_id is {read.next_id} but there is a G{max(first)}; "
            f"ids are never used again, so it must be at least {max(first) + 1}"
        )
    return None
