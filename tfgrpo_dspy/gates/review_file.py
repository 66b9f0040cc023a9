"""Review of a step's operations in a file: they are written, the run ends, and goes on once all are decided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tfgrpo_dspy.errors import DataError, ReviewStop
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.program.saved import read_json
from tfgrpo_dspy.records.decisions import Decision, Proposed
from tfgrpo_dspy.runtime.locks import first_free
from tfgrpo_dspy.text import counted, fingerprint, show_path

FORMAT, VERSION = "tfgrpo-review", 1
_HOW = (
    'Give every operation a verdict: "accept"; "refuse", with a reason; or "edit", after changing the text in its '
    '"operation". Then run the same command again.'
)
_OPERATION: TypeAdapter[Operation] = TypeAdapter(Operation)


class FileReview:
    """Writes the operations of a step into a file and ends the run; takes it up there once all are decided.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, library: ExperienceLibrary, proposals: Sequence[Proposed]) -> list[Decision]:
        """The decisions in the file, if it is about these proposals and complete; ReviewStop if not."""
        step, shown, about = proposals[0].step, show_path(self._path), fingerprint(*map(repr, proposals))
        found = read_json(self._path, "mend it, or take it away to begin anew") if self._path.exists() else None
        if found is not None and (found.get("format"), found.get("version")) != (FORMAT, VERSION):
            raise DataError(f"{shown} is no {FORMAT} file of version {VERSION}; name another with --review-file")
        if found is None or found.get("about") != about:
            # Keep decisions that are not about this step and were not used by an earlier one.
            earlier = found.get("step") if found is not None else None
            if found is not None and not (isinstance(earlier, int) and earlier < step):
                self._path.rename(first_free(self._path, f"{self._path.stem}.", self._path.suffix))
            self._ask(proposals, about)
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

    def _ask(self, proposals: Sequence[Proposed], about: str) -> None:
        head = {"format": FORMAT, "version": VERSION, "how": _HOW, "step": proposals[0].step, "about": about}
        operations = [
            {
                "verdict": None,
                "reason": "",
                **({} if proposal.before is None else {"before": proposal.before}),
                "operation": proposal.operation.model_dump(mode="json"),
                "from": [
                    {"example": e.source.example, "task": e.task, "rewards": list(e.rewards)} for e in proposal.evidence
                ],
            }
            for proposal in proposals
        ]
        document = {**head, "operations": operations}
        write_atomically(json.dumps(document, indent=2, ensure_ascii=False) + "\n", self._path)


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
