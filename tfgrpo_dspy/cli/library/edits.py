"""`tfgrpo library edit|add|delete|pin|unpin|review`: changes by people, checked like any operation, each a commit."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.boundary import Waiting
from tfgrpo_dspy.cli.library.history import ExperienceId, LibraryFile, Reason
from tfgrpo_dspy.cli.library.tracked import library_file, library_to_change, note_of_a_person, write_commit
from tfgrpo_dspy.cli.terminal import say, us
from tfgrpo_dspy.errors import ReviewStop, SettingsError
from tfgrpo_dspy.library.apply import Limits, Refusal
from tfgrpo_dspy.library.operations import Add, Delete, Modify, Operation, operation_id
from tfgrpo_dspy.records.decisions import Proposed
from tfgrpo_dspy.text import show_path

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
    _apply(library_file(file), [Add(text=text, reason=reason)], reason, max_words)


def delete(file: LibraryFile, ids: _Ids, reason: Reason = "") -> None:
    """Delete experiences; their ids are not used again."""
    _apply(library_file(file), [Delete(id=id, reason=reason) for id in ids], reason, None)


def pin(file: LibraryFile, ids: _Ids, reason: Reason = "") -> None:
    """Pin experiences: no update may change or delete them."""
    _pin(library_file(file), ids, reason, pinned=True)


def unpin(file: LibraryFile, ids: _Ids, reason: Reason = "") -> None:
    """Unpin experiences: updates may change and delete them again."""
    _pin(library_file(file), ids, reason, pinned=False)


def review(file: LibraryFile, max_words: MaxWords = 32) -> None:
    """Decide, one by one, on what agents proposed by `tfgrpo mcp`; what is accepted is one commit."""
    from tfgrpo_dspy.cli.review import TerminalReview
    from tfgrpo_dspy.history.proposals import decided, read_proposals

    path = library_file(file)
    waiting = read_proposals(path)
    if not waiting:
        say(f"nothing is proposed for {show_path(path)}")
        return
    tracked = library_to_change(path)
    library, texts = tracked.library, {e.id: e.text for e in tracked.library}
    proposed = [
        Proposed(0, p.operation.model_copy(update={"reason": p.reason}), texts.get(operation_id(p.operation) or ""), ())
        for p in waiting
    ]
    try:
        decisions = TerminalReview(max_words)(library, proposed)
    except ReviewStop:
        raise Waiting(f"you stopped; nothing was decided, and all {len(waiting)} proposals wait") from None
    refused, taken = [], []
    for operation, d in zip([p.operation for p in proposed], decisions, strict=True):
        if d.verdict == "refuse":
            refused.append(Refusal(operation, f"a person refused it: {d.reason or 'no reason was given'}"))
        else:
            taken.append(d.operation or operation)
    after, changes, refusals = library.apply(taken, author="person", limits=Limits(max_words=max_words))
    for refusal in refusals:
        say(f"that cannot be: {refusal.reason}", style="yellow")
    note = replace(note_of_a_person("proposals of agents"), refusals=(*refused, *refusals))
    write_commit(path, tracked.history.record(after, note, changes))
    decided(waiting, path)


def _apply(path: Path, operations: Sequence[Operation], reason: str, max_words: int | None) -> None:
    tracked = library_to_change(path)
    library, changes, refusals = tracked.library.apply(operations, author="person", limits=Limits(max_words=max_words))
    if refusals:
        told = "; ".join(refusal.reason for refusal in refusals)
        hint = f"; unpin it first: {us()} library unpin {show_path(path)} ..." if "is pinned" in told else ""
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
