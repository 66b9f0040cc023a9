"""What step 2 makes of a group: summaries, and the semantic advantage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfgrpo_dspy.library.library import Source
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.rollouts import Group


@dataclass(frozen=True, slots=True)
class Summary:
    """What a rollout did, in words."""

    rollout: str
    """Name of the rollout."""
    reward: float
    text: str
    failures: tuple[Failure, ...] = ()
    """Why no summary could be had, in which case the text is the shortened trajectory; empty otherwise."""


@dataclass(frozen=True, slots=True)
class SemanticAdvantage:
    """A_text of one group: why some of its rollouts won, and what to remember."""

    group: str
    """Name of the group, e.g. `s1/e12`."""
    task: str
    """The inputs of its example, as text."""
    summaries: tuple[Summary, ...]
    comparison: str
    experiences: tuple[str, ...]
    """Candidate experiences, at most `experiences_per_group`, each at most `max_words` words."""
    source: Source


@dataclass(frozen=True, slots=True)
class Extraction:
    """What the extractor made of a group's summaries."""

    advantage: SemanticAdvantage | None
    """None if it could not be had."""
    failures: tuple[Failure, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Contrast:
    """What step 2 made of one group."""

    group: Group
    summaries: tuple[Summary, ...] = ()
    advantage: SemanticAdvantage | None = None
    """None for a group whose rewards do not differ, and for one whose extraction failed."""
    failures: tuple[Failure, ...] = ()
    usage: Usage = Usage()

    @property
    def is_carried(self) -> bool:
        """Whether its extraction failed and is to be tried again in the next step."""
        return bool(self.summaries) and self.advantage is None


def were_tried(failures: Sequence[Failure]) -> bool:
    """Whether all that failed was tried, rather than left undone because no budget was left."""
    return all(failure.is_error for failure in failures)
