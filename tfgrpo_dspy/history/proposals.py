"""What agents propose to enter a library: kept beside it, which stays as it is, until a person decides."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from tfgrpo_dspy.errors import DataError, SettingsError
from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Modify, Operation
from tfgrpo_dspy.text import one_line

_MOST = 200
"""Proposals that may wait: who has to decide is a person."""
_MAX_WORDS = Limits().max_words


@dataclass(frozen=True, slots=True)
class Proposal:
    """An operation that waits for a person."""

    operation: Operation
    by: str = ""
    """Name of the client that proposed it, as it calls itself; empty if it does not."""

    @property
    def reason(self) -> str:
        """Why, and whose word that is."""
        return f"{self.operation.reason} (proposed by {self.by or 'an agent'})".lstrip()


_PROPOSAL = TypeAdapter(Proposal)


def proposals_path(library: str | os.PathLike[str]) -> Path:
    """Where the proposals for a library file are: `library.proposals.jsonl` for `library.json`."""
    path = Path(library)
    return path.with_name(f"{path.stem}.proposals.jsonl")


def propose(library: ExperienceLibrary, operation: Add | Modify, by: str, path: Path) -> None:
    """Put an operation down for review, beside the library's file.

    Raises:
        SettingsError: The library would refuse it, it waits already, or too many do.
    """
    refusals = library.apply([operation], limits=Limits(max_words=_MAX_WORDS)).refusals
    if refusals:
        raise SettingsError(f"this cannot be proposed: {refusals[0].reason}")
    with _alone(path):
        waiting = read_proposals(path)
        if any(_said(p.operation) == _said(operation) for p in waiting):
            raise SettingsError("this is proposed already, and waits for a person's review")
        if len(waiting) >= _MOST:
            raise SettingsError(f"{len(waiting)} proposals wait for a person's review already; no more are taken")
        _write((*waiting, Proposal(operation, one_line(by))), path)


def read_proposals(path: Path) -> tuple[Proposal, ...]:
    """The proposals that wait for a library file, oldest first; none if there are none.

    Raises:
        DataError: A line is none.
    """
    file = proposals_path(path)
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    try:
        return tuple(_PROPOSAL.validate_json(line) for line in lines if line.strip())
    except ValidationError as error:
        raise DataError(f"{file} holds a line that is no proposal ({error.errors()[0]['msg']}): take it out") from error


def decided(proposals: Collection[Proposal], path: Path) -> None:
    """Take proposals out that a person has decided on; what was proposed meanwhile stays."""
    with _alone(path):
        left = tuple(p for p in read_proposals(path) if p not in proposals)
        if left:
            _write(left, path)
        else:
            proposals_path(path).unlink(missing_ok=True)


def _said(operation: Operation) -> tuple[object, ...]:
    return operation.op, getattr(operation, "id", None), one_line(getattr(operation, "text", ""))


def _alone(path: Path) -> FileLock:
    return FileLock(proposals_path(path).with_suffix(".lock"))


def _write(proposals: tuple[Proposal, ...], path: Path) -> None:
    lines = (json.dumps(_PROPOSAL.dump_python(p, mode="json"), ensure_ascii=False) for p in proposals)
    write_atomically("".join(f"{line}\n" for line in lines), proposals_path(path))
