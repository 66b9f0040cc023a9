"""What step 2 makes of a group: summaries, and the semantic advantage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tfgrpo_dspy.library.experience import Source
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.looks.look import Look, brief
from tfgrpo_dspy.looks.value import Shown
from tfgrpo_dspy.records.failures import Failure, are_final
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.text import one_line, shorten

_TASK_TOKENS = 60
"""Estimated tokens of a task in evidence."""


Became = Literal["added", "merged", "said already", "corrected", "refused", "carried"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one candidate experience that an extraction gave; each has exactly one."""

    group: str
    """Name of the group that gave it, e.g. `s1/e12`."""
    text: str
    became: Became
    """`added` as an entry of its own; `merged` into an entry; `said already` by one; `corrected`: an entry that it
    shows to be wrong was rewritten or taken out; `refused`; `carried` to the next step."""
    id: str | None = None
    """The entry concerned, if one is."""
    why: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Summary(Shown):
    """What a rollout did, in words."""

    rollout: str
    """Name of the rollout."""
    reward: float
    text: str
    failures: tuple[Failure, ...] = ()
    """Why no summary could be had, in which case the text is the shortened trajectory; empty otherwise."""
    usage: Usage = Usage()

    @property
    def was_tried(self) -> bool:
        """Whether it was asked for, rather than left undone because no budget was left."""
        return all(failure.is_error for failure in self.failures)

    @property
    def is_final(self) -> bool:
        """Whether it is a result: the endpoint was reached, and the budget allowed it."""
        return are_final(self.failures)

    def look(self) -> Look:
        """Its beginning."""
        return Look(f"Summary of {self.rollout}, reward {self.reward:g}: {brief(self.text)}")


@dataclass(frozen=True, slots=True, repr=False)
class SemanticAdvantage(Shown):
    """A_text of the paper, of one group: why some of its rollouts won, and what to remember."""

    group: str
    """Name of the group, e.g. `s1/e12`."""
    task: str
    """The inputs of its example, as text."""
    summaries: tuple[Summary, ...]
    comparison: str
    experiences: tuple[str, ...]
    """Candidate experiences, one text each."""
    source: Source
    misled_by: str | None = None
    """Id of the entry that led attempts astray, if the extractor names one."""

    def look(self) -> Look:
        """Why some won, and what to remember."""
        misled = f"led astray by [{self.misled_by}]" if self.misled_by else ""
        return Look(f"SemanticAdvantage of {self.group}: {brief(self.comparison)}", (*self.experiences, misled))


def by_label(advantages: Iterable[SemanticAdvantage]) -> dict[str, SemanticAdvantage]:
    """A batch's advantages by the labels that operations cite them by: `A0`, `A1`, ..."""
    return {f"A{i}": advantage for i, advantage in enumerate(advantages)}


@dataclass(frozen=True, slots=True)
class Extraction:
    """What the extractor made of a group's summaries."""

    advantage: SemanticAdvantage | None
    """None if it could not be had."""
    failures: tuple[Failure, ...] = ()
    """Why it could not; empty otherwise."""
    left_out: tuple[Fate, ...] = ()
    """Candidates of the reply that are no part of the advantage, and why."""
    usage: Usage = Usage()

    @property
    def is_final(self) -> bool:
        """Whether it is a result: the endpoint was reached, and the budget allowed it."""
        return are_final(self.failures)


@dataclass(frozen=True, slots=True)
class Contrast:
    """What step 2 made of one group."""

    group: Group
    summaries: tuple[Summary, ...] = ()
    extraction: Extraction | None = None
    """None for a group that teaches nothing, and for one whose summaries the budget did not allow."""

    @property
    def advantage(self) -> SemanticAdvantage | None:
        """None for a group whose rewards do not differ, and for one whose extraction failed."""
        return self.extraction.advantage if self.extraction is not None else None

    @property
    def failures(self) -> tuple[Failure, ...]:
        """All that could not be had."""
        found = tuple(failure for summary in self.summaries for failure in summary.failures)
        made = self.extraction
        return found if made is None else (*found, *made.failures)

    @property
    def usage(self) -> Usage:
        """What the summaries and the extraction took."""
        spent = sum((summary.usage for summary in self.summaries), Usage())
        return spent if self.extraction is None else spent + self.extraction.usage

    @property
    def to_be_extracted_again(self) -> Contrast:
        """Its group and summaries; what they took and lacked is recorded with this one."""
        return Contrast(self.group, tuple(replace(s, failures=(), usage=Usage()) for s in self.summaries))

    @property
    def is_carried(self) -> bool:
        """Whether its extraction failed and is to be tried again in the next step."""
        return bool(self.summaries) and self.advantage is None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A group of rollouts that a change rests on."""

    source: Source
    task: str
    """The inputs of its example, shortened."""
    rewards: tuple[float, ...] = ()
    """Of `source.rollouts`, in their order."""


def evidence_of(advantages: Iterable[SemanticAdvantage]) -> tuple[Evidence, ...]:
    """What changes that cite these advantages rest on, each group once."""
    found = {
        a.source: Evidence(
            a.source, one_line(shorten(a.task, _TASK_TOKENS)), tuple(float(s.reward) for s in a.summaries)
        )
        for a in advantages
    }
    return tuple(found.values())
