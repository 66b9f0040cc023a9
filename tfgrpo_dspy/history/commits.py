"""What a history is made of: commits, what each made of the experiences, and what it rests on. Frozen values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields, is_dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel

from tfgrpo_dspy.library.apply import Refusal
from tfgrpo_dspy.library.experience import Circumstances, Experience, Source
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.looks.look import Look
from tfgrpo_dspy.looks.value import Shown
from tfgrpo_dspy.records.advantages import Evidence
from tfgrpo_dspy.records.effects import Effect

CommitAuthor = Literal["updater", "person", "gate", "import"]
"""Who changed the library: an update of a run, a person, a check of the run, or whoever made it before its history."""

Kind = Literal["add", "modify", "delete", "restore", "pin", "unpin", "mark"]
"""What became of an experience; `restore` brings a deleted one back, `mark` leaves its text and its pin as they are."""

_ID_BYTES, _DIGEST_BYTES = 5, 8


@dataclass(frozen=True, slots=True)
class Revision:
    """What a commit made of one experience."""

    kind: Kind
    id: str
    before: str | None = None
    """Its text before; None if it was not there."""
    after: Experience | None = None
    """All of it after; None if it is gone."""
    reason: str = ""
    sources: tuple[Source, ...] = ()
    """The groups that this change rests on; those of its earlier texts are in `after.provenance`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What was known of a library when a commit was made; None for what was not measured."""

    training: float | None = None
    """Mean reward of the step's rollouts, which read the library *before* the commit."""
    training_n: int | None = None
    """Rollouts it rests on."""
    validation: float | None = None
    """Mean reward on the valset of the library *after* the commit."""
    validation_n: int | None = None
    """Questions it rests on."""
    effects: tuple[Effect, ...] = ()
    """What entries did to the reward, by all rollouts so far; of texts of the library *before* the commit, or of the
    one that is gone back to."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Note(Shown):
    """What is said of a change to the library, besides the change."""

    author: CommitAuthor
    reason: str = ""
    step: int | None = None
    """The step of a run that made it, from 1; None if none did."""
    at: str = ""
    """Date and time, ISO 8601; empty for steps of a run, so that the same run has the same history."""
    refusals: tuple[Refusal, ...] = ()
    scores: Scores = Scores()
    evidence: tuple[Evidence, ...] = ()
    """The groups cited by its changes."""

    def look(self) -> Look:
        """By whom, and why."""
        step = f", step {self.step}" if self.step is not None else ""
        return Look(f"{type(self).__name__} by {self.author}{step}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Commit(Note):
    """One accepted change to a library; the commits before it and this one give the library after it."""

    id: str = ""
    """Ten hexadecimal digits, made of the content and the parent: it changes when either does."""
    parent: str | None = None
    """Id of the commit before; None for the first."""
    changes: tuple[Revision, ...] = ()
    order: tuple[str, ...] = ()
    """Ids in library order after it; empty where that is the order before, new ones at the end."""
    next_id: int = 0
    """Number of the next experience to be added, after it."""
    learned_with: tuple[str, ...] = ()
    """Names of the LMs that took part in learning the library after it."""
    domain: str | None = None
    """What the library after it is about."""
    learned_under: Circumstances = field(default_factory=Circumstances)
    """Student, metric and objective that the library after it was learned under."""
    digest: str = ""
    """Digest of the library after it, see `digest_of`."""

    def named(self) -> Commit:
        """This commit with the id that its content gives it."""
        return replace(self, id=id_of(document_of(self)))

    @property
    def summary(self) -> str:
        """What it did, in a few words: `2 added, 1 changed`."""
        counts = {word: sum(WORDS[c.kind] == word for c in self.changes) for word in dict.fromkeys(WORDS.values())}
        return ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "no change"

    @property
    def when(self) -> str:
        """Its step, else its moment: `step 2`, `2026-03-01 09:30`; empty if neither is known."""
        return f"step {self.step}" if self.step is not None else self.at.replace("T", " ")[:16]

    def look(self) -> Look:
        """What it did, by whom, and why."""
        step = f", step {self.step}" if self.step is not None else ""
        why = f": {self.reason}" if self.reason else ""
        return Look(f"Commit {self.id} by {self.author}{step}: {self.summary}{why}")


WORDS: dict[Kind, str] = {
    "add": "added",
    "modify": "changed",
    "delete": "deleted",
    "restore": "restored",
    "pin": "pinned",
    "unpin": "unpinned",
    "mark": "marked",
}
"""What a change did, in a word."""


def digest_of(library: ExperienceLibrary) -> str:
    """Sixteen hexadecimal digits that tell libraries apart: ids, texts, pins, provenance, everything."""
    return blake2b(dump_library(library).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def document_of(commit: Commit) -> dict[str, Any]:
    """A commit as JSON values; what is empty is left out."""
    head = {"id": commit.id, "parent": commit.parent, "step": commit.step, "author": commit.author}
    plain: dict[str, Any] = _plain(commit)
    return {**{name: value for name, value in head.items() if value not in (None, "")}, **plain}


def id_of(document: dict[str, Any]) -> str:
    """The id that belongs to a commit's document, whatever id that says."""
    content = {name: value for name, value in document.items() if name != "id"}
    text = json.dumps(content, sort_keys=True)
    return blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()


def to_line(document: dict[str, Any]) -> str:
    """A JSON document on one line, without its line break."""
    text = json.dumps(document, ensure_ascii=False)
    # UTF-8 has no form for a lone surrogate, JSON's escapes do; some editors take these separators for line breaks
    return re.sub("[\ud800-\udfff\u2028\u2029\x85]", lambda match: f"\\u{ord(match.group()):04x}", text)


_ALWAYS = frozenset({"id", "text"})
"""Fields that are written even when empty."""


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return _without_empty(value.model_dump(mode="python"))
    if is_dataclass(value) and not isinstance(value, type):
        return _without_empty({f.name: getattr(value, f.name) for f in fields(value)})
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in values.items()}
    return {name: value for name, value in plain.items() if name in _ALWAYS or not _is_empty(value)}


def _is_empty(value: object) -> bool:
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)
