"""`tfgrpo library edit|add|delete|pin|unpin`: what people change, checked like any operation, each a commit."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfgrpo_dspy.cli.library.history import ExperienceId, LibraryFile, Reason
from tfgrpo_dspy.cli.library.tracked import library_file, library_to_change, note_of_a_person, us_on, write_commit
from tfgrpo_dspy.errors import SettingsError

if TYPE_CHECKING:
    from tfgrpo_dspy.library.operations import Operation

MaxWords = Annotated[int, typer.Option("--max-words", metavar="N", help="Words that the text may have.")]
_Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of experiences, e.g. G7.")]


def edit(
    file: LibraryFile,
    id: ExperienceId,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="The new text. Left out, an editor opens ($EDITOR).")
    ] = None,
    reason: Reason = "",
    max_words: MaxWords = 32,
) -> None:
    """Change the text of an experience."""
    from tfgrpo_dspy.library.operations import Modify

    path = library_file(file)
    if text is None:
        text = _edited(path, id)
    _apply(path, [Modify(id=id, text=text, reason=reason)], reason, max_words)


def add(
    file: LibraryFile,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The experience, e.g. 'When ..., do ...'.")],
    reason: Reason = "",
    max_words: MaxWords = 32,
) -> None:
    """Add an experience."""
    from tfgrpo_dspy.library.operations import Add

    _apply(library_file(file), [Add(text=text, reason=reason)], reason, max_words)


def delete(file: LibraryFile, ids: _Ids, reason: Reason = "") -> None:
    """Delete experiences; their ids are not used again."""
    from tfgrpo_dspy.library.operations import Delete

    _apply(library_file(file), [Delete(id=id, reason=reason) for id in ids], reason, None)


def pin(file: LibraryFile, ids: _Ids, reason: Reason = "") -> None:
    """Pin experiences: no update may change or delete them."""
    _pin(library_file(file), ids, reason, pinned=True)


def unpin(file: LibraryFile, ids: _Ids, reason: Reason = "") -> None:
    """Unpin experiences: updates may change and delete them again."""
    _pin(library_file(file), ids, reason, pinned=False)


def _apply(path: Path, operations: Sequence[Operation], reason: str, max_words: int | None) -> None:
    from tfgrpo_dspy.library.apply import Limits

    tracked = library_to_change(path)
    library, changes, refusals = tracked.library.apply(operations, author="person", limits=Limits(max_words=max_words))
    if refusals:
        told = "; ".join(refusal.reason for refusal in refusals)
        hint = f"; unpin it first: {us_on('unpin', path)} ..." if "is pinned" in told else ""
        raise SettingsError(f"{told}{hint}; nothing was changed")
    write_commit(path, tracked.history.record(library, note_of_a_person(reason), changes))


def _pin(path: Path, ids: Sequence[str], reason: str, *, pinned: bool) -> None:
    tracked = library_to_change(path)
    library, state = tracked.library, "pinned" if pinned else "not pinned"
    for id in dict.fromkeys(ids):
        if id not in library:
            raise SettingsError(f"there is no {id}; nothing was changed")
        if library[id].pinned == pinned:
            raise SettingsError(f"{id} is {state} already; nothing was changed")
        library = library.pin(id, pinned)
    write_commit(path, tracked.history.record(library, note_of_a_person(reason)))


def _edited(path: Path, id: str) -> str:
    """The text of an experience after a person had it in an editor."""
    library = library_to_change(path).library
    if id not in library:
        raise SettingsError(f"there is no {id}; nothing was changed")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise SettingsError("give the new text, or name an editor in the environment variable EDITOR")
    with tempfile.TemporaryDirectory(prefix="tfgrpo-") as folder:
        draft = Path(folder) / f"{id}.txt"
        draft.write_text(f"{library[id].text}\n", encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(draft)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SettingsError(f"the editor {editor!r} failed ({error}); nothing was changed") from error
        return draft.read_text(encoding="utf-8")
