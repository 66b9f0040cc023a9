"""What is wrong with a library's JSON: the slow way of reading it, which knows what to say.

`library_file.parse_library` reads what fits at once; what does not comes here.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.experience import (
    Author,
    Circumstances,
    Experience,
    ExperienceLibrary,
    Provenance,
    Source,
    id_number,
)

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
