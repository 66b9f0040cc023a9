"""The history on disk: `library.history.jsonl` beside `library.json`, one commit a line, only ever added to.

The two change together: first the history, then the library, which is its head. Whatever instant a process is killed
at, reading them again gives the library before a commit or after it, with its history.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from tfgrpo_dspy.errors import HistoryError, LibraryFormatError
from tfgrpo_dspy.history.commits import Commit, digest_of, document_of, id_of, to_line
from tfgrpo_dspy.history.history import History, diff
from tfgrpo_dspy.library.apply import Refusal
from tfgrpo_dspy.library.file import load_library, save_library
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify

FORMAT = "tfgrpo-history"
VERSION = 1

_HEADER = to_line({"format": FORMAT, "version": VERSION}) + "\n"
_MEND = "restore the file from a backup; without it the library stays as it is and begins a new history"


class Tracked(NamedTuple):
    """A library file and its history."""

    library: ExperienceLibrary
    """What the library file holds."""
    history: History
    """Empty if the library has none yet."""
    difference: str = ""
    """One sentence, if the library is not what its history ends with; empty otherwise."""


def history_path(library: str | os.PathLike[str]) -> Path:
    """Where the history of a library file is: `library.history.jsonl` for `library.json`."""
    path = Path(library)
    return path.with_name(f"{path.stem}.history.jsonl")


def dump_history(history: History) -> str:
    """The history as JSON lines: what it is, then one commit a line; exact under `parse_history`."""
    return _HEADER + "".join(f"{to_line(document_of(commit))}\n" for commit in history)


def parse_history(text: str, *, source: str = "<text>") -> History:
    """The history of a text written by `dump_history`; a last line that was torn is left out.

    Raises:
        HistoryError: A line is damaged, or is not what followed the line before it.
    """
    lines = text.rstrip("\n").split("\n") if text.strip("\n") else []
    documents = [_document(line, source, n, is_last=n == len(lines)) for n, line in enumerate(lines, start=1)]
    whole = [document for document in documents if document is not None]
    if not whole:
        return History()
    if whole[0] != {"format": FORMAT, "version": VERSION}:
        raise HistoryError(f"{source}, line 1: it is no history of version {VERSION}; {_MEND}")
    commits: list[Commit] = []
    for number, document in enumerate(whole[1:], start=2):
        commits.append(_commit(document, commits, f"{source}, line {number}"))
    return History(tuple(commits))


def load_history(path: str | os.PathLike[str]) -> History:
    """Read a history file.

    Raises:
        HistoryError: A line is damaged, or is not what followed the line before it.
        OSError: The file cannot be read.
    """
    return parse_history(Path(path).read_bytes().decode("utf-8", "replace"), source=str(path))


def load_tracked(path: str | os.PathLike[str]) -> Tracked:
    """Read a library file with its history; a library that a kill left one commit behind is brought up to it.

    Raises:
        HistoryError: The history is damaged.
        LibraryFormatError: The library is.
        OSError: A file cannot be read, or there is neither library nor history.
    """
    beside = history_path(path)
    history = load_history(beside) if beside.exists() else History()
    if len(history) and not Path(path).exists():
        save_library(history.library, path)
    library = load_library(path)
    if not len(history) or digest_of(library) == history.commits[-1].digest:
        return Tracked(library, history)
    if len(history) > 1 and digest_of(library) == history.commits[-2].digest:
        save_library(history.library, path)
        return Tracked(history.library, history)
    changes = diff(history.library, library)
    counts = {"added": changes.added, "removed": changes.removed, "changed": changes.modified}
    found = ", ".join(f"{len(of)} {what}" for what, of in counts.items() if of) or "its texts are the same"
    difference = (
        f"{Path(path)} was changed outside its history, after commit {history.commits[-1].id} ({found}); record that "
        f"as your own change with `tfgrpo library commit {Path(path)}`"
    )
    return Tracked(library, history, difference)


def save_tracked(history: History, path: str | os.PathLike[str], *, is_final: bool = True) -> Path | None:
    """Write a history and the library it ends with; commits that are there already are not written again.

    A library that is in the place and not of this history is put aside with its own, as `library.1.json`.

    Args:
        history: All of it.
        path: The library file.
        is_final: Whether commits of the file that this history has not are another history. If not they are taken for
            what comes next, as when a killed run is taken up again, and nothing is written.

    Returns:
        Where a library was put aside; None if there was none.

    Raises:
        OSError: A file cannot be written.
    """
    path, aside = Path(path), None
    beside, wanted = history_path(path), dump_history(history).encode()
    there = beside.read_bytes() if beside.exists() else b""
    if not is_final and there != wanted and there.startswith(wanted):
        return None
    if not wanted.startswith(there) or (path.exists() and not _is_of(path, history)):
        places = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
        aside = next(to for to in places if not to.exists() and not history_path(to).exists())
        for old, new in ((path, aside), (beside, history_path(aside))):
            if old.exists():
                old.rename(new)
    _append_missing(history, path)
    return aside


def extend(path: str | os.PathLike[str], history: History) -> None:
    """Write the commits that were added to a history read from the file; a last line that was torn is cut off.

    Raises:
        HistoryError: The file has commits that this history has not: something else wrote to it meanwhile.
        OSError: A file cannot be written.
    """
    beside = history_path(path)
    if beside.exists():
        there = beside.read_bytes()
        known = parse_history(there.decode("utf-8", "replace"), source=str(beside))
        if known.commits != history.commits[: len(known)]:
            raise HistoryError(f"{beside} was written by another process meanwhile; run the command again")
        lines = there.splitlines(keepends=True)[: len(known) + 1]
        os.truncate(beside, sum(map(len, lines)) if len(known) else 0)
    _append_missing(history, Path(path))


def _append_missing(history: History, path: Path) -> None:
    """Add to the history file what it has not; then write the library."""
    beside = history_path(path)
    beside.parent.mkdir(parents=True, exist_ok=True)
    with beside.open("ab") as file:
        file.write(dump_history(history).encode()[file.tell() :])
        file.flush()
        os.fsync(file.fileno())
    save_library(history.library, path)


def _is_of(path: Path, history: History) -> bool:
    """Whether a library file holds the library after some commit."""
    try:
        return digest_of(load_library(path)) in {commit.digest for commit in history}
    except LibraryFormatError:
        return False


def _document(line: str, source: str, number: int, *, is_last: bool) -> dict[str, Any] | None:
    """The JSON object of a line; None for a last line that was torn."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        if is_last:
            return None
        raise HistoryError(f"{source}, line {number} is damaged; {_MEND}") from error
    if not isinstance(document, dict):
        raise HistoryError(f"{source}, line {number} is no JSON object; {_MEND}")
    return document


def _commit(document: dict[str, Any], before: list[Commit], where: str) -> Commit:
    if document.get("id") != id_of(document):
        raise HistoryError(f"{where} was changed after it was written: its id does not fit; {_MEND}")
    parent = before[-1].id if before else None
    if document.get("parent") != parent:
        raise HistoryError(f"{where} follows commit {document.get('parent')}, not {parent}: a line is missing; {_MEND}")
    try:
        refusals = tuple(_refusal(refused) for refused in document.get("refusals", ()))
        return replace(_COMMIT.validate_python({**document, "refusals": ()}), refusals=refusals)
    except (KeyError, TypeError) as error:
        raise HistoryError(f"{where}: refusals: {error!r}; a newer tfgrpo-dspy may have written it") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise HistoryError(f"{where}: {field}: {first['msg']}; a newer tfgrpo-dspy may have written it") from error


def _refusal(document: dict[str, Any]) -> Refusal:
    """As it was written: what mends a model's reply must not mend it a second time."""
    written = dict(document["operation"])
    kind = _OPERATIONS[written["op"]]
    operation = kind.model_construct(**{**written, "sources": tuple(written.get("sources", ()))})
    return Refusal(operation, document["reason"], document.get("repeats"))


_OPERATIONS: dict[str, type[Add | Modify | Delete | Keep]] = {
    "add": Add,
    "modify": Modify,
    "delete": Delete,
    "keep": Keep,
}
_COMMIT: TypeAdapter[Commit] = TypeAdapter(Commit)
