"""`tfgrpo library edit|add|delete|pin|unpin|review|merge`: changes, checked like any operation, each one a commit."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.boundary import Waiting
from tfgrpo_dspy.cli.library.tracked import (
    ExperienceId,
    LibraryFile,
    Reason,
    library_file,
    library_to_change,
    note_of_a_person,
    read_any,
    show_changes,
    write_commit,
)
from tfgrpo_dspy.cli.lms import make_lm
from tfgrpo_dspy.cli.terminal import say, us
from tfgrpo_dspy.errors import ReviewStop, SettingsError
from tfgrpo_dspy.history.commits import Note
from tfgrpo_dspy.history.file import save_tracked
from tfgrpo_dspy.history.history import diff
from tfgrpo_dspy.library.apply import Change, Limits, Refusal
from tfgrpo_dspy.library.combine import combine
from tfgrpo_dspy.library.library import ExperienceLibrary
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


def merge(
    first: Annotated[Path, typer.Argument(metavar="FILE", help="library.json, or the folder of one. Its ids stay.")],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="Another library, in any format.")],
    *,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the result here, and leave FILE as it is.")
    ] = None,
    no_lm: Annotated[bool, typer.Option("--no-lm", help="Ask no LM: leave out repetitions only.")] = False,
    lm: Annotated[str | None, typer.Option(metavar="MODEL", help="The LM that reconciles them.")] = None,
    api_base: Annotated[str | None, typer.Option(metavar="URL", help="Its endpoint.")] = None,
    objective: Annotated[str | None, typer.Option(metavar="TEXT", help="What the merged library is for.")] = None,
) -> None:
    """Merge two libraries: an LM reconciles what they say, or only repetitions are left out.

    FILE keeps its ids; experiences of OTHER get new ones, and their provenance says which they were. It is one commit
    in the history of FILE.
    """
    if (lm is None) != no_lm:
        raise SettingsError("name the LM that reconciles the libraries with --lm, or ask none with --no-lm")
    from tfgrpo_dspy.steps.reconcile import OBJECTIVE, Reconciled, reconcile

    path = library_file(first)
    tracked = library_to_change(path)
    old = tracked.library
    combined = combine([old, read_any(second)], names=[first.name, second.name])
    at_home = {e.id: e for e in old}  # in its own history an entry of FILE has no origin elsewhere
    entries = tuple(at_home.get(e.id, e) for e in combined.library)
    combined = combined._replace(library=replace(combined.library, experiences=entries))
    made = Reconciled(*combined)
    if lm is not None:
        from tfgrpo_dspy.steps.reflection import Reflection

        made = reconcile(combined, old, Reflection(make_lm(lm, api_base=api_base), retries=2), objective or OBJECTIVE)
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    reason = "; left out: ".join([f"merged with {second.name}", *filter(None, [", ".join(map(str, made.left_out))])])
    note = Note(author="import" if lm is None else "updater", reason=reason, at=at, refusals=made.refusals)
    history = tracked.history.record(made.library, note, (*_moves(made.library, old), *made.changes))
    if target is None:
        write_commit(path, history)
        return

    aside = save_tracked(history, target)
    show_changes(diff(old, made.library))
    put = f"; what was there is now {aside.name}" if aside is not None else ""
    say(f"commit {history.commits[-1].id} in {show_path(target)}{put}", style="bold")


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


def _moves(library: ExperienceLibrary, old: ExperienceLibrary) -> list[Change]:
    """What the history says of the experiences that came over: what they were, and what they rest on."""
    return [
        Change("add", e.id, None, e.text, "; ".join(filter(None, [f"it was {e.provenance.origin}", why])), sources)
        for e in library
        if e.id not in old and e.provenance.origin is not None
        for why, sources in [(e.provenance.reason, e.provenance.sources)]
    ]
