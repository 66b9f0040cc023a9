"""One experience, and where it came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from tfgrpo_dspy.looks.look import Look
from tfgrpo_dspy.looks.value import Shown

Author = Literal["updater", "person", "import"]
"""Who gave an experience its present text."""

_STRICT = {"extra": "forbid"}
"""Tells pydantic, which reads these values from files, that a field they do not have is an error."""
_ID = re.compile(r"G(0|[1-9][0-9]*)")


def id_number(id: str) -> int:
    """7 for `G7`; ValueError for anything else."""
    match = _ID.fullmatch(id)
    if match is None:
        raise ValueError(f"{id!r} is no experience id; ids are G0, G1, ...")
    return int(match[1])


@dataclass(frozen=True, slots=True)
class Source:
    """Where an insight came from: one training example and the rollouts of its group."""

    __pydantic_config__: ClassVar = _STRICT

    example: str
    """Name of the example, e.g. `e12`: its position in the trainset, from 0."""
    rollouts: tuple[str, ...] = ()
    """Names of the rollouts compared, e.g. `s1/e12/r0`."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How an experience came to be what it is."""

    __pydantic_config__: ClassVar = _STRICT

    author: Author = "person"
    created_step: int | None = None
    """Step that added it, from 1; None if no run did."""
    modified_step: int | None = None
    """Last step that changed its text; None if none did."""
    reason: str = ""
    """The reason given for its last change."""
    sources: tuple[Source, ...] = ()
    """Groups that speak for it, oldest first."""
    origin: str | None = None
    """Library and id that it had before libraries were combined, e.g. `math:G7`; None if its id is its first."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a library was learned under, besides the LMs; empty where nothing is known."""

    __pydantic_config__: ClassVar = _STRICT

    student: str = ""
    """Name of the program's class."""
    metric: str = ""
    """Name of the metric."""
    objective: str = ""
    """What the program was meant to do well, where the settings said so."""


@dataclass(frozen=True, slots=True, repr=False)
class Experience(Shown):
    """One piece of advice in natural language, at best "When ..., do ..."."""

    __pydantic_config__: ClassVar = _STRICT

    id: str
    """`G` and a number; never reused, never renumbered."""
    text: str
    """One line."""
    pinned: bool = False
    """True: no update may change or delete it."""
    scope: str | None = None
    """Name of the only predictor that reads it, e.g. `extract.predict`; None for all that are conditioned."""
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def marks(self) -> list[str]:
        """What is special about who may change or read it."""
        return ["pinned"] * self.pinned + ([f"only for {self.scope}"] if self.scope else [])

    @property
    def marked_text(self) -> str:
        """Its text, with its marks behind."""
        return f"{self.text} ({', '.join(self.marks)})" if self.marks else self.text

    def look(self) -> Look:
        """Its id and its text."""
        return Look(f"Experience {self.id}: {self.marked_text}")
