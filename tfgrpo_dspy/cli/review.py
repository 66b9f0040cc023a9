"""Reviews of a step's operations by a person: at the terminal, or in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.prompt import Prompt

from tfgrpo_dspy.cli.files import read_json
from tfgrpo_dspy.cli.terminal import out, say, show_path
from tfgrpo_dspy.cli.view import show_change
from tfgrpo_dspy.errors import DataError, ReviewStop
from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Delete, Operation, operation_id
from tfgrpo_dspy.records.decisions import Decision, Proposed
from tfgrpo_dspy.runtime.locks import first_free
from tfgrpo_dspy.text import counted, fingerprint

FORMAT, VERSION = "tfgrpo-review", 1
_HOW = (
    'Give every operation a verdict: "accept"; "refuse", with a reason; or "edit", after changing the text in its '
    '"operation". Then run the same command again.'
)
_KEYS = "a accept, r refuse, e edit, A accept all the rest, q stop here"
_EVIDENCE_SHOWN = 3


class TerminalReview:
    """Asks about each operation in turn.

    Args:
        max_words: Words that an edited text may have.
    """

    def __init__(self, max_words: int) -> None:
        self._limits = Limits(max_words=max_words)

    def __call__(self, library: ExperienceLibrary, proposals: Sequence[Proposed]) -> list[Decision]:
        """One decision per proposal; ReviewStop when the person stops the run, or input ends."""
        who = f"Step {proposals[0].step} proposes" if proposals[0].step else "Agents propose"
        say(f"\n{who} {counted(len(proposals), 'operation')}: {_KEYS}", style="bold")
        decisions: list[Decision] = []
        for number, proposal in enumerate(proposals, start=1):
            _show(proposal, f"{number}/{len(proposals)}")
            try:
                choices = [key for key in "areAq" if key != "e" or not isinstance(proposal.operation, Delete)]
                key = Prompt.ask("  your choice", choices=choices, console=out())
                if key == "q":
                    raise _stopped(proposal.step)
                if key == "A":
                    return [*decisions, *[Decision("accept")] * (len(proposals) - len(decisions))]
                decisions.append(self._decision(key, proposal, library))
            except EOFError:
                raise _stopped(proposal.step) from None
        return decisions

    def _decision(self, key: str, proposal: Proposed, library: ExperienceLibrary) -> Decision:
        if key == "r":
            return Decision("refuse", Prompt.ask("  why", default="", show_default=False, console=out()))
        if key == "a":
            return Decision("accept")
        while True:
            text = Prompt.ask("  new text", console=out())
            operation = proposal.operation.model_copy(update={"text": text})
            refusals = library.apply([operation], limits=self._limits).refusals
            if not refusals:
                return Decision("edit", operation=operation)
            say(f"  that cannot be: {refusals[0].reason}", style="yellow")


class FileReview:
    """Writes the operations of a step into a file and ends the run; takes it up there once all are decided.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, library: ExperienceLibrary, proposals: Sequence[Proposed]) -> list[Decision]:
        """The decisions in the file, if it is about these proposals and complete; ReviewStop if not."""
        step, shown = proposals[0].step, show_path(self._path)
        document = {
            "format": FORMAT,
            "version": VERSION,
            "how": _HOW,
            "step": proposals[0].step,
            "about": fingerprint(*map(repr, proposals)),
            "operations": [_item(proposal) for proposal in proposals],
        }
        found = _read(self._path) if self._path.exists() else None
        if found is None or found.get("about") != document["about"]:
            # Keep decisions that are not about this step and were not used by an earlier one.
            earlier = found.get("step") if found is not None else None
            if found is not None and not (isinstance(earlier, int) and earlier < step):
                self._path.rename(first_free(self._path, f"{self._path.stem}.", self._path.suffix))
            write_atomically(json.dumps(document, indent=2, ensure_ascii=False) + "\n", self._path)
            raise ReviewStop(
                f"step {step} proposes {counted(len(proposals), 'operation')}: decide in {shown}, then run the same "
                "command again"
            )
        items = found.get("operations")
        if not isinstance(items, list) or len(items) != len(proposals):
            raise DataError(
                f"{shown}: operations must be the {len(proposals)} that were written; take it away to begin anew"
            )
        pending = sum(not isinstance(item, dict) or item.get("verdict") is None for item in items)
        if pending:
            raise ReviewStop(
                f"{pending} of {counted(len(proposals), 'operation')} of step {step} have no verdict in {shown} yet; "
                "give each one, then run the same command again"
            )
        return [
            _decided(item, p, f"{shown}: operations[{i}]")
            for i, (item, p) in enumerate(zip(items, proposals, strict=True))
        ]


def _stopped(step: int) -> ReviewStop:
    return ReviewStop(
        f"you stopped the run before the operations of step {step} were applied; the same command goes on there"
    )


def _show(proposal: Proposed, number: str) -> None:
    operation, evidence = proposal.operation, proposal.evidence
    head = " ".join(filter(None, [number, "", operation.op, operation_id(operation)]))
    grounds = [("why", operation.reason)]
    for found in evidence[:_EVIDENCE_SHOWN]:
        rewards = " ".join(f"{reward:g}" for reward in found.rewards)
        grounds.append(("from", f"{found.source.example} (rewards {rewards}): {found.task}"))
    more = len(evidence) - _EVIDENCE_SHOWN
    grounds += [("", f"and {more} more")] if more > 0 else []
    show_change(head, proposal.before, getattr(operation, "text", None), grounds)


def _item(proposal: Proposed) -> dict[str, Any]:
    grounds = [{"example": e.source.example, "task": e.task, "rewards": list(e.rewards)} for e in proposal.evidence]
    before = {} if proposal.before is None else {"before": proposal.before}
    operation = proposal.operation.model_dump(mode="json")
    return {"verdict": None, "reason": "", **before, "operation": operation, "from": grounds}


def _read(path: Path) -> dict[str, Any]:
    document = read_json(path, "mend it, or take it away to begin anew")
    if (document.get("format"), document.get("version")) != (FORMAT, VERSION):
        raise DataError(f"{show_path(path)} is no {FORMAT} file of version {VERSION}; name another with --review-file")
    return document


def _decided(item: dict[str, Any], proposal: Proposed, where: str) -> Decision:
    verdict, reason = item.get("verdict"), str(item.get("reason") or "")
    if verdict not in {"accept", "refuse", "edit"}:
        raise DataError(f'{where}.verdict must be "accept", "refuse" or "edit", got {verdict!r}')
    try:
        operation = _OPERATION.validate_python(item.get("operation"))
    except ValidationError as error:
        raise DataError(f"{where}.operation is none: {error.errors()[0]['msg']}") from error
    if verdict == "refuse":
        return Decision("refuse", reason)
    if (operation != proposal.operation) != (verdict == "edit"):
        unchanged, changed = "as it was proposed, so there is no edit", "changed, which needs the verdict edit"
        said = unchanged if verdict == "edit" else changed
        raise DataError(f"{where}.operation is {said}")
    return Decision("edit", operation=operation) if verdict == "edit" else Decision("accept")


_OPERATION: TypeAdapter[Operation] = TypeAdapter(Operation)
