"""`tfgrpo library review`: a person decides on what agents proposed; what is accepted is a commit."""

from __future__ import annotations

from dataclasses import replace

from tfgrpo_dspy.cli.boundary import Waiting
from tfgrpo_dspy.cli.library.edits import MaxWords
from tfgrpo_dspy.cli.library.history import LibraryFile
from tfgrpo_dspy.cli.library.tracked import library_file, library_to_change, note_of_a_person, write_commit
from tfgrpo_dspy.cli.terminal import say, show_path
from tfgrpo_dspy.errors import ReviewStop


def review(file: LibraryFile, max_words: MaxWords = 32) -> None:
    """Decide, one by one, on what agents proposed by `tfgrpo mcp`; what is accepted is one commit."""
    from tfgrpo_dspy.cli.review import TerminalReview
    from tfgrpo_dspy.history.proposals import decided, read_proposals
    from tfgrpo_dspy.library.apply import Limits, Refusal
    from tfgrpo_dspy.library.operations import operation_id
    from tfgrpo_dspy.records.decisions import Proposed

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
    given = [(p.operation, d) for p, d in zip(proposed, decisions, strict=True)]
    refused = [
        Refusal(o, f"a person refused it: {d.reason or 'no reason was given'}")
        for o, d in given
        if d.verdict == "refuse"
    ]
    taken = [d.operation or o for o, d in given if d.verdict != "refuse"]
    after, changes, refusals = library.apply(taken, author="person", limits=Limits(max_words=max_words))
    for refusal in refusals:
        say(f"that cannot be: {refusal.reason}", style="yellow")
    note = replace(note_of_a_person("proposals of agents"), refusals=(*refused, *refusals))
    write_commit(path, tracked.history.record(after, note, changes))
    decided(waiting, path)
