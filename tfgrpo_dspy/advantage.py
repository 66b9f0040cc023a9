"""Step 2, the semantic group advantage: one summary per rollout, then why some won (paper, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from tfgrpo_dspy.experience import Source


@dataclass(frozen=True, slots=True)
class Summary:
    """What a rollout did, in words."""

    rollout: str
    """Name of the rollout."""
    reward: float
    text: str
    failure: str | None = None
    """Why no summary could be had, in which case the text is the shortened trajectory; None otherwise."""


@dataclass(frozen=True, slots=True)
class SemanticAdvantage:
    """A_text of one group: why some of its rollouts won, and what to remember."""

    group: str
    """Name of the group, e.g. `s1/e12`."""
    summaries: tuple[Summary, ...]
    comparison: str
    experiences: tuple[str, ...]
    """Candidate experiences, at most `experiences_per_group`, each at most `max_words` words."""
    source: Source
