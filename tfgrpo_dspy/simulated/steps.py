"""Steps of reasoning, as a text shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a reasoning: what was done, and the calculation."""

    approach: str
    calculation: str
    followed: str
    """Label of the advice it followed; empty if none."""


_STEP = re.compile(
    r"\b(?:First|Next|Then|Finally), ([^:.\n]+?)(?: \(following \[([^\]\n]+)\]\))?: (.*?)(?=\.(?:\s|$)|\n|$)",
    re.MULTILINE,
)


def steps_in(text: str) -> list[Step]:
    """The steps that a reasoning, a trajectory or a summary shows, in order, none twice."""
    steps = [Step(m[1].strip(), m[3].strip(), m[2] or "") for m in _STEP.finditer(text)]
    return list(dict.fromkeys(steps))
