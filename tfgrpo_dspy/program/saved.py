"""A program on disk: its state without keys and endpoints, the library in it, and reading it back."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy

from tfgrpo_dspy.errors import DataError, ProgramError
from tfgrpo_dspy.library.experience import Experience, Provenance, id_number
from tfgrpo_dspy.library.file import FORMAT, write_atomically
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import append_section, find_section, parse_lines, render_section
from tfgrpo_dspy.program.retrieving import Retrieving, holds_memory, library_in, with_library_in
from tfgrpo_dspy.text import show_path

_SECRETS = {"api_key", "api_base", "base_url", "headers", "extra_headers", "default_headers", "api_version"}


def save_program(program: dspy.Module, path: Path) -> None:
    """`program.save`, without the endpoints and keys of LMs that the program may have of its own.

    DSPy leaves out keys when it saves an LM, but neither addresses nor headers; it ignores them when loading.
    """
    with tempfile.TemporaryDirectory(prefix="tfgrpo-") as private:
        draft = Path(private) / "program.json"
        program.save(str(draft))
        state = json.loads(draft.read_text(encoding="utf-8"))
    _write(_with_lms(state, lambda lm: {name: value for name, value in lm.items() if name not in _SECRETS}), path)


def load_state(program: dspy.Module, path: Path) -> dspy.Module:
    """A copy of the program with the state of a saved `program.json`; its LMs stay those that its code made.

    A saved LM has no address, as that may hold credentials: loaded, it would ask its provider's public endpoint, with
    whatever key is in the environment.

    Raises:
        DataError: The file cannot be read.
        ProgramError: It is the state of another program.
    """
    state = read_json(path)
    if state.get("format") == FORMAT:
        raise ProgramError(f"{path} is a library, not a program that reads it; that is the program.json beside it")
    copy = Retrieving(program) if holds_memory(state) else program.deepcopy()
    names = {name for name, _ in copy.named_parameters()}
    saved = {"self"} if _has_signature(state) else set(state) - {"metadata"}
    if saved != names:
        raise ProgramError(
            f"{path} holds the state of a program with {', '.join(sorted(saved)) or 'no predictor'}, "
            f"but this program has {', '.join(sorted(names))}; load it into the program it was compiled from"
        )
    own = {name: predictor.lm for name, predictor in copy.named_predictors()}
    try:
        copy.load_state(_with_lms(state, lambda lm: None))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProgramError(f"{path} cannot be loaded into this program: {type(error).__name__}: {error}") from error
    for name, predictor in copy.named_predictors():
        predictor.lm = own[name]
    return copy


def saved_library(path: Path) -> ExperienceLibrary | None:
    """The library that a saved program reads, its provenance left behind; None if the file holds no program."""
    try:
        state = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
    except ValueError:
        return None  # whatever it is, the reader of libraries says what is wrong with it
    if not isinstance(state, dict) or not (holds_memory(state) or _instructions(state)):
        return None
    if holds_memory(state):
        return library_in(state)
    found = {entry for text in _instructions(state).values() for entry in parse_lines(find_section(text))}
    read = sorted(found, key=lambda entry: id_number(entry[0]))
    experiences = tuple(Experience(id, text, provenance=Provenance("import")) for id, text in read)
    return ExperienceLibrary(experiences, next_id=id_number(read[-1][0]) + 1 if read else 0)


def save_library_in(path: Path, library: ExperienceLibrary) -> bool:
    """Make a saved program read that library; False, and nothing done, if none of its predictors is known to read one.

    Raises:
        DataError: The file is damaged.
    """
    state = read_json(path)
    if holds_memory(state):
        _write(with_library_in(state, library), path)
        return True
    texts = _instructions(state)
    reading = [name for name, text in texts.items() if find_section(text)] or ([*texts] if len(texts) == 1 else [])
    for name in reading:
        predictor = state if _has_signature(state) else state[name]
        section = render_section(library.scoped_to(name))
        predictor["signature"]["instructions"] = append_section(texts[name], section)
    if reading:
        _write(state, path)
    return bool(reading)


def read_json(path: Path, mend: str = "restore it or compile again") -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: There is none; the message ends with how to `mend` that.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{show_path(path)} is no valid JSON ({error}); {mend}") from error
    if not isinstance(document, dict):
        raise DataError(f"{show_path(path)} must hold a JSON object; {mend}")
    return document


def _write(state: Any, path: Path) -> None:
    write_atomically(json.dumps(state, indent=2, ensure_ascii=False) + "\n", path)


def _instructions(state: dict[str, Any]) -> dict[str, str]:
    """Instructions by the name of their predictor; DSPy saves a bare `dspy.Predict`, `self`, without its name."""
    states = {"self": state} if _has_signature(state) else state
    return {n: str(one["signature"].get("instructions", "")) for n, one in states.items() if _has_signature(one)}


def _has_signature(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("signature"), dict)


def _with_lms(state: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    """The state with what it says of each LM changed."""
    if isinstance(state, list):
        return [_with_lms(value, change) for value in state]
    if not isinstance(state, dict):
        return state
    return {
        name: change(value) if name == "lm" and isinstance(value, dict) else _with_lms(value, change)
        for name, value in state.items()
    }
